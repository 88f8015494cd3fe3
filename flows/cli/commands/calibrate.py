"""cosmic calibrate RESULT_PATH: make the uncertainty of a model from a run over galaxies of known redshift."""

import argparse
from contextlib import ExitStack
from pathlib import Path

from flows.cli.options import add_json, add_store, bucket_and_path
from flows.cli.outputs import check_output, held_output
from flows.cli.terminal import print_json, say
from inference.contract.counted import counted
from inference.storage.atomic_write import atomic_write


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add this command's arguments."""
    parser.add_argument(
        "result_path",
        metavar="RESULT_PATH",
        help="a run, written bucket/result_path, over galaxies that the model was not trained on",
    )
    add_store(parser)
    parser.add_argument("--to", type=Path, metavar="FILE", help="write the calibration to a file, too")
    parser.add_argument("--partial", action="store_true", help="take what is there of an incomplete run")
    add_json(parser)


def main(args: argparse.Namespace) -> int:
    """Calibrate, write, say what came out."""
    from inference.storage.store import Store
    from tasks.photoz.magnitude import with_article
    from tasks.run_results.calibrate import calibrate_run

    bucket, path = bucket_and_path(args.result_path)
    store = Store(args.store)
    with ExitStack() as stack:
        if args.to is not None:
            check_output(args.to)
            held = stack.enter_context(held_output(args.to, "calibrate"))
        key, calibration = calibrate_run(store, bucket, path, partial=args.partial)
        if args.to is not None:
            held.check()
            with atomic_write(args.to) as partial:
                partial.write_bytes(calibration.to_json())
    facts = dict(calibration.made)
    if args.json:
        print_json({"key": f"{bucket}/{key}", "sha256": calibration.sha256, **facts})
        return 0
    z_bins, mag_bins = facts["bins"]
    band = facts.get("magnitude", "r")
    say(f"{bucket}/{key}")
    say(
        f"{counted(facts['galaxies'], 'galaxy')} in {counted(z_bins, 'bin')} of predicted redshift"
        f" with {mag_bins} of {band} magnitude each."
        " Runs of this model in this bucket now give intervals."
    )
    if calibration.own:
        say("The intervals keep the widths that the model gives, scaled so that they hold.")
    if facts["left_out"]:
        left_out, were = counted(facts["left_out"], "galaxy"), "was" if facts["left_out"] == 1 else "were"
        say(f"{left_out} without a known redshift or {with_article(band)} {were} left out.")
    if facts["too_few_galaxies_for"]:
        say(f"Too few galaxies for finer bins ({', '.join(facts['too_few_galaxies_for'])}): coarser ones were taken.")
    return 0
