"""What a simulated survey looks like: sample cut-outs, colours on the tracks of their templates, distributions.

One HTML page, with pictures inside, for whoever wants to look at a survey before a model does.
"""

from collections.abc import Callable

import matplotlib as mpl
import numpy as np
from matplotlib.figure import Figure

from inference.contract.counted import counted
from tasks.reporting.composite import draw_colour, how
from tasks.reporting.figures import INK, PALE, SHADES, STYLE, WARM, WIDTH, Picture, legend_above, svg_of
from tasks.reporting.page import render_page
from tasks.reporting.table import Column, Row, Table
from tasks.reporting.terminal import bar
from tasks.simulation.population import BANDS, REDSHIFT_LIMITS, TEMPLATES, ZERO_POINT, fluxes
from tasks.simulation.survey import (
    AS_TRAINED,
    CALIBRATION_ERROR,
    DEPTHS,
    SEEING_SCATTER,
    Conditions,
    Survey,
    sky_noise,
)

ROWS, COLUMNS = 5, 8  # sample cut-outs
_TRACKS = ("#b3470b", "#e69f00", "#10233c", "#7a8796")
_R = BANDS.index("r")


def survey_page(survey: Survey, seed: int, conditions: Conditions = AS_TRAINED) -> str:
    """The page."""
    drawn: tuple[tuple[Callable[[], str], str], ...] = (
        (
            lambda: samples(survey),
            f"Galaxies across the survey, in the order of their redshift: {how()}."
            " Under each its redshift and r magnitude.",
        ),
        (
            lambda: bands(survey, conditions),
            "One galaxy near the median brightness in its five bands, each from the sky's noise to its own peak.",
        ),
        (
            lambda: colours(survey),
            "Colour against redshift: the survey's galaxies, measured with noise, and the templates' own tracks"
            " (Coleman, Wu & Weedman 1980). Galaxies lie between the tracks, but for their errors.",
        ),
        (lambda: histograms(survey), "Redshifts, and r magnitudes as measured."),
    )
    pictures = []
    with bar("pictures", len(drawn)) as show:
        for draw, caption in drawn:
            pictures.append(Picture(draw(), caption))
            show(len(pictures))
    return render_page(
        "survey.html",
        pictures=pictures,
        galaxies=len(survey.redshifts),
        seed=seed,
        bands=_bands(survey, conditions),
        about=noise_and_psf(conditions),
    )


def _bands(survey: Survey, conditions: Conditions) -> Table:
    """Depth, noise and median magnitude of each band."""
    columns = (
        Column("band", "Band", str, text=True),
        Column("depth", "Five-sigma depth, AB", str),
        Column("sky", "Sky noise put in, nanomaggies a pixel", str),
        Column("seen", "found in the corners", str),
        Column("magnitude", "Median magnitude", str),
    )
    rows: list[Row] = [
        {
            "band": band,
            "depth": f"{DEPTHS[number] - conditions.shallower:.1f}",
            "sky": f"{sky_noise(conditions)[number]:.3g}",
            "seen": f"{_sky_of(survey, number):.3g}",
            "magnitude": f"{np.median(survey.magnitudes[:, number]):.2f}",
        }
        for number, band in enumerate(BANDS)
    ]
    return Table("bands", "Bands", columns, rows, "")


def _sky_of(survey: Survey, band: int) -> float:
    """The scatter of the corner pixels, where galaxies are faint: 1.4826 x the median deviation."""
    corners = survey.images[:, band, :3, :3].ravel()
    return float(1.4826 * np.median(np.abs(corners - np.median(corners))))


def noise_and_psf(conditions: Conditions = AS_TRAINED) -> str:
    """One sentence about what the images were drawn with."""
    return (
        f"Pixels of {conditions.pixel:g} arcseconds; a Moffat PSF (beta 2.5) of {conditions.seeing:g} arcseconds FWHM"
        f" in r, lognormally scattered by {SEEING_SCATTER:.0%} from galaxy to galaxy and narrower to the red as"
        " wavelength^-0.3; Gaussian sky noise from the five-sigma depths; magnitudes with the sky's error and"
        f" {CALIBRATION_ERROR} of calibration."
    )


def samples(survey: Survey) -> str:
    """Colour composites of galaxies at evenly spaced ranks of redshift, as SVG."""
    order = np.argsort(survey.redshifts, kind="stable")
    count = min(ROWS * COLUMNS, len(order))
    chosen = order[np.linspace(0, len(order) - 1, count).round().astype(int)]
    figure = Figure(figsize=(WIDTH * 1.6, WIDTH * 1.6 * 1.14 * ROWS / COLUMNS), layout="constrained")
    with mpl.rc_context(STYLE):
        panels = figure.subplots(ROWS, COLUMNS).ravel()
        for axes in panels:
            axes.set_axis_off()
        for axes, number in zip(panels, chosen, strict=False):
            label = f"z {survey.redshifts[number]:.2f}, r {survey.magnitudes[number, _R]:.1f}"
            draw_colour(axes, survey.images[number], label)
        return svg_of(figure, "samples", f"{counted(count, 'galaxy')} of the survey in colour")


def bands(survey: Survey, conditions: Conditions = AS_TRAINED) -> str:
    """The five bands of one galaxy, as SVG."""
    r = survey.magnitudes[:, _R]
    number = int(np.argsort(r, kind="stable")[len(r) // 2])
    noise = sky_noise(conditions)
    figure = Figure(figsize=(WIDTH * 1.6, WIDTH * 1.6 / 5 + 0.4), layout="constrained")
    with mpl.rc_context(STYLE):
        for band, axes in enumerate(figure.subplots(1, len(BANDS))):
            image = survey.images[number, band]
            axes.imshow(
                np.arcsinh(image / noise[band]),
                origin="lower",
                cmap="gray",
                vmin=-1,
                vmax=max(np.arcsinh(image.max() / noise[band]), 1),
                interpolation="nearest",
            )
            axes.set_title(f"{BANDS[band]} = {survey.magnitudes[number, band]:.2f}", fontsize=10)
            axes.set_axis_off()
        return svg_of(figure, "bands", "One galaxy in five bands")


def colours(survey: Survey) -> str:
    """Colours, u - g, g - r and r - i, against redshift with the templates' tracks, as SVG."""
    pairs = [(0, 1), (1, 2), (2, 3)]
    track = np.linspace(max(REDSHIFT_LIMITS[0], 0.01), REDSHIFT_LIMITS[1], 60)
    tracks = [
        np.array([ZERO_POINT - 2.5 * np.log10(fluxes(float(kind), z, -20.0)) for z in track])
        for kind in range(len(TEMPLATES))
    ]
    figure = Figure(figsize=(WIDTH, 6.4), layout="constrained")
    with mpl.rc_context(STYLE):
        panels = figure.subplots(3, 1, sharex=True)
        for axes, (blue, red) in zip(panels, pairs, strict=True):
            colour = survey.magnitudes[:, blue] - survey.magnitudes[:, red]
            low, high = np.quantile(colour, [0.005, 0.995])
            low = min(low, *(float((each[:, blue] - each[:, red]).min()) for each in tracks)) - 0.1
            high = max(high, *(float((each[:, blue] - each[:, red]).max()) for each in tracks)) + 0.1
            extent = (0.0, REDSHIFT_LIMITS[1], low, high)
            inside = (colour > low) & (colour < high)
            axes.hexbin(
                survey.redshifts[inside],
                colour[inside],
                gridsize=(60, 18),
                extent=extent,
                mincnt=1,
                bins="log",
                cmap=SHADES,
                linewidths=0.1,
                alpha=0.75,
            )
            for kind, each in enumerate(tracks):
                label = TEMPLATES[kind] if blue == 0 else "_"
                axes.plot(track, each[:, blue] - each[:, red], color=_TRACKS[kind], linewidth=1.6, label=label)
            axes.set(xlim=extent[:2], ylim=extent[2:], ylabel=f"{BANDS[blue]} - {BANDS[red]}")
        panels[-1].set_xlabel("redshift")
        legend_above(figure, *panels[0].get_legend_handles_labels())
        return svg_of(figure, "colours", "Colours against redshift with the tracks of the templates")


def histograms(survey: Survey) -> str:
    """Redshifts and r magnitudes, as SVG."""
    figure = Figure(figsize=(WIDTH, 3.0), layout="constrained")
    with mpl.rc_context(STYLE):
        values = survey.redshifts, survey.magnitudes[:, _R]
        for axes, column, label, colour in zip(
            figure.subplots(1, 2), values, ("redshift", "r magnitude"), (WARM, PALE), strict=True
        ):
            axes.hist(column, bins=int(np.clip(len(column) ** 0.5, 5, 40)), color=colour, edgecolor=INK, linewidth=0.4)
            axes.set_xlabel(label)
        figure.axes[0].set_ylabel("galaxies")
        return svg_of(figure, "histograms", "Histograms of redshift and r magnitude")
