"""cosmic import-checkpoint: a published checkpoint as .safetensors, without executing anything of it."""

import argparse
from collections import Counter
from pathlib import Path

from rich.table import Table
from rich.text import Text

from flows.cli.options import add_json
from flows.cli.outputs import held_output
from flows.cli.terminal import print_json, say, show_table
from inference.contract.counted import counted
from inference.errors import BadInput
from tasks.checkpoint_import.convert import Imported, import_checkpoint

# Contract, "Model": numbers that training could change.
_PUBLISHED = {15_902_889: "the published count of the deployed model", 15_801_513: "the count with a ViT-Tiny encoder"}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add this command's arguments."""
    parser.add_argument(
        "legacy", type=Path, metavar="LEGACY.pt", help="a module or state dict: torch.save or safetensors"
    )
    parser.add_argument("out", type=Path, metavar="OUT.safetensors", help="the checkpoint to write")
    parser.add_argument(
        "--heads",
        type=int,
        metavar="N",
        help="heads of the attention, where the file does not say (a plain state dict never does)",
    )
    parser.add_argument(
        "--weights",
        default="model",
        metavar="NAME",
        help="which of several models in the file: model (default), ema for the averaged one, or its name in the file",
    )
    add_json(parser)


def main(args: argparse.Namespace) -> int:
    """Import and show what was found."""
    if args.out.suffix != ".safetensors":
        raise BadInput(f"OUT.safetensors must end in .safetensors, not {args.out.name!r:.80}")
    if args.out.resolve() == args.legacy.resolve():
        raise BadInput(f"OUT.safetensors must be another file than {args.legacy}")
    with held_output(args.out, "import-checkpoint") as held:
        imported = import_checkpoint(args.legacy, args.out, args.heads, args.weights, check=held.check)
    if args.json:
        print_json(
            {
                "config": imported.config.to_dict(),
                "parameters": imported.parameters,
                "tensors_read": imported.tensors_read,
                "unused": imported.unused,
                "notes": list(imported.notes),
                "source_sha256": imported.source_sha256,
                "sha256": imported.sha256,
            }
        )
        return 0
    _show(args.legacy, args.out, imported)
    return 0


def _show(source: Path, out: Path, imported: Imported) -> None:
    config = imported.config
    convolutions = "none"
    if config.convolution_ratio is not None:
        convolutions = f"ratio {config.convolution_ratio:g}, {config.convolution_groups} groups"
    published = _PUBLISHED.get(imported.parameters)
    table = Table(title=Text(f"{source} as {out}"), show_header=False)
    for name, value in {
        "image": f"{config.bands} bands of {config.image_size} x {config.image_size} pixels, patches of {config.patch}",
        "encoder": f"{config.depth} blocks of width {config.width}, {config.heads} heads",
        "MLP ratio": f"{config.mlp_ratio:g}",
        "class token": "yes" if config.class_token else "no",
        "epsilon of the norms": f"{config.norm_eps:g} in the blocks, {config.last_norm_eps:g} behind them",
        "bias of q, k, v": config.qkv_bias,
        "convolutions beside attention": convolutions,
        "inception branch": f"{config.inception_stem} channels, then branches of"
        f" {', '.join(map(str, config.inception_widths))}",
        "magnitudes": f"{config.magnitude_layers} layers of {config.magnitude_width}",
        "heads of the branches, last head": f"{config.branch_width}, {config.head_width}",
        "parameters": f"{imported.parameters:,}" + (f" ({published})" if published else ""),
        "tensors read": str(imported.tensors_read),
        **{f"unused: {why}": f"{counted(count, 'tensor')}" for why, count in Counter(imported.unused.values()).items()},
        "SHA-256 of the source": imported.source_sha256,
        "SHA-256 of the result": imported.sha256,
    }.items():
        table.add_row(Text(name), Text(value))
    show_table(table)
    for note in imported.notes:
        say(f"note: {note}")
