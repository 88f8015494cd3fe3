"""cosmic simulate: a survey of simulated galaxies as one file."""

import argparse
from dataclasses import replace
from pathlib import Path

from flows.cli import prefect_server as prefect_api
from flows.cli.outputs import held_output
from flows.cli.terminal import say
from inference.contract.counted import counted
from inference.errors import BadInput
from inference.storage.atomic_write import atomic_write
from tasks.reporting.formatting import file_size


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add this command's arguments."""
    parser.add_argument("--samples", type=int, required=True, metavar="N", help="galaxies")
    parser.add_argument("--out", type=Path, required=True, metavar="FILE", help=".pt or .safetensors")
    parser.add_argument(
        "--seed",
        type=int,
        default=0,
        metavar="S",
        help="same seed, same bytes (default %(default)s)",
    )
    for option, what in (
        ("--pixel-scale", "arcseconds a pixel (default 0.396, as the demo model knows it)"),
        ("--seeing", "median FWHM of the PSF in r, arcseconds (default 1.1)"),
        ("--shallower", "magnitudes less deep than the demo's survey (default 0; below 0: deeper)"),
    ):
        parser.add_argument(option, type=float, metavar="X", help=what)
    parser.add_argument("--bands", metavar="BANDS", help="some of ugrizy, as griz (default ugriz)")
    parser.add_argument("--size", type=int, metavar="N", help="pixels a side of a cut-out (default 32)")
    parser.add_argument(
        "--no-page", action="store_true", help="write no page of sample cut-outs and colours beside FILE"
    )
    parser.add_argument("--workers", type=int, metavar="N", help="processes (default one a core)")


def main(args: argparse.Namespace) -> int:
    """Simulate and write."""
    from inference.contract.survey_facts import SurveyFacts
    from inference.partitions.partition import write_partition
    from inference.runs.plan import SUFFIXES
    from tasks.reporting.terminal import bar
    from tasks.simulation.survey import AS_TRAINED, Conditions, check, simulate

    if args.out.suffix not in SUFFIXES:
        raise BadInput(f"--out must end in {' or '.join(SUFFIXES)}, not {args.out.name!r}")
    given = {
        "pixel": args.pixel_scale,
        "seeing": args.seeing,
        "shallower": args.shallower,
        "bands": args.bands and args.bands.replace(",", ""),
        "side": args.size,
    }
    conditions = Conditions(**{name: value for name, value in given.items() if value is not None})
    check(args.samples, args.seed, 1 if args.workers is None else args.workers, conditions)
    with held_output(args.out, "simulate") as held:
        done = 0
        with bar("galaxies", args.samples) as show:

            def progress(count: int) -> None:
                nonlocal done
                done += count
                show(done)

            survey = simulate(args.samples, args.seed, args.workers, progress, conditions)
        held.check()
        args.out.parent.mkdir(parents=True, exist_ok=True)
        facts = replace(SurveyFacts.of_sdss_bands(conditions.pixel), bands=tuple(conditions.bands))
        write_partition(args.out, survey.images, survey.magnitudes, survey.redshifts, facts)
        if not args.no_page and conditions.bands == AS_TRAINED.bands:  # its pictures are of u g r i z
            prefect_api.hush(verbose=False)
            from tasks.simulation.report import survey_page

            page = args.out.with_suffix(".html")
            with atomic_write(page) as partial:
                partial.write_text(survey_page(survey, args.seed, conditions))
            say(f"{page}: sample cut-outs, colours and noise to look at")
        say(
            f"{args.out}: {counted(args.samples, 'galaxy')}, {file_size(args.out.stat().st_size)},"
            f" redshift {survey.redshifts.min():.3f} to {survey.redshifts.max():.3f}"
        )
    return 0
