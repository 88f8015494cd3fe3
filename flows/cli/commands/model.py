"""cosmic model new: a model with random weights, to time inference by."""

import argparse
from pathlib import Path

from flows.cli.options import add_json, bucket_and_path
from flows.cli.outputs import held_output
from flows.cli.terminal import print_json, say
from inference.contract.validation import shorten
from inference.errors import BadInput, StoreError
from inference.storage.atomic_write import atomic_write
from inference.storage.store import S3_ROOT, Store
from tasks.reporting.formatting import file_size


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add this command's arguments."""
    parser.add_argument("action", choices=("new",), help="make a model whose weights are random")
    parser.add_argument(
        "out", metavar="OUT", help="the checkpoint to write: FILE.safetensors or s3://bucket/key.safetensors"
    )
    parser.add_argument(
        "--size", choices=("full", "small"), default="full", help="as published, or the demo's (default %(default)s)"
    )
    parser.add_argument("--seed", type=int, default=0, metavar="S", help="same seed, same bytes (default %(default)s)")
    parser.add_argument("--overwrite", action="store_true", help="replace another model that is there")
    add_json(parser)


def main(args: argparse.Namespace) -> int:
    """Make, write, say what it is."""
    import hashlib

    from inference.model.tensor_shapes import parameters_of
    from tasks.training.new_model import SIZES, new_model

    if not args.out.endswith(".safetensors"):
        raise BadInput(f"OUT must end in .safetensors, not {shorten(args.out, 80)}")
    data = new_model(args.size, args.seed)
    place = _Bucket(args.out) if args.out.startswith(S3_ROOT) else _File(args.out)
    if not place.write(data, overwrite=args.overwrite):
        raise BadInput(f"{args.out} is another model: name another file, or give --overwrite")
    facts = {
        "model": args.out,
        "size": args.size,
        "seed": args.seed,
        "parameters": parameters_of(SIZES[args.size]),
        "bytes": len(data),
        "sha256": hashlib.sha256(data).hexdigest(),
    }
    if args.json:
        print_json(facts)
        return 0
    say(f"{args.out}: {facts['parameters']:,} parameters, {file_size(len(data))}, random weights of seed {args.seed}")
    say("It has learned nothing: it is for timing, and its redshifts mean nothing.", "dim")
    return 0


class _File:
    """A file of this machine."""

    def __init__(self, out: str) -> None:
        self.path = Path(out).expanduser()

    def write(self, data: bytes, *, overwrite: bool) -> bool:
        """Write it; False where another model is there, which stays."""
        try:
            with held_output(self.path, "model") as held:
                if not overwrite and self.path.exists() and self.path.read_bytes() != data:
                    return False
                held.check()
                with atomic_write(self.path) as partial:
                    partial.write_bytes(data)
                return True
        except OSError as error:
            raise BadInput(f"cannot write {self.path}: {error.strerror}") from None


class _Bucket:
    """An object on S3."""

    def __init__(self, out: str) -> None:
        self.store = Store(S3_ROOT)
        self.bucket, self.key = bucket_and_path(out.removeprefix(S3_ROOT), "OUT", "s3://bucket/key")

    def write(self, data: bytes, *, overwrite: bool) -> bool:
        """Write it; False where another model is there, which stays."""
        try:
            if not self.store.has_bucket(self.bucket):
                raise BadInput(f"OUT: there is no bucket {self.bucket}: `cosmic init {self.bucket} --store s3://`")
            if not overwrite:
                return self.store.create(self.bucket, self.key, data)
        except StoreError as error:  # nothing has been written yet
            raise BadInput(str(error)) from error
        self.store.write(self.bucket, self.key, data)
        return True
