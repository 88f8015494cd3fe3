"""simulated: a survey file of simulated galaxies, made once."""

from pathlib import Path

from inference.contract.counted import counted
from inference.contract.survey_facts import SurveyFacts
from inference.partitions.partition import write_partition
from tasks.prefect_support.last_line import did
from tasks.prefect_support.step import step
from tasks.reporting.formatting import file_size
from tasks.reporting.terminal import bar
from tasks.simulation.drawing import PIXEL
from tasks.simulation.survey import simulate

# In the home, not in the working folder: a worker runs each flow run in a folder of its own, and partitions know the
# file that they were made from by its path.
FOLDER = Path.home() / ".cosmic" / "surveys"


def survey_file(samples: int, seed: int) -> Path:
    """Where the survey of so many galaxies and this seed lies or will lie."""
    return (FOLDER / f"{samples}-{seed}.pt").resolve()


@step("simulate survey")
def simulate_survey(samples: int, seed: int) -> Path:
    """A survey of so many galaxies as a file; the same number and seed give the same file, which is kept.

    Raises:
        BadInput: the number or the seed is out of range.
        StoreError: the file cannot be written.
    """
    path = survey_file(samples, seed)
    if path.exists():
        did(f"{counted(samples, 'galaxy')} were there already")
        return path
    done = 0
    with bar("galaxies", samples) as show:

        def progress(count: int) -> None:
            nonlocal done
            done += count
            show(done)

        survey = simulate(samples, seed, None, progress)
    path.parent.mkdir(parents=True, exist_ok=True)
    write_partition(path, survey.images, survey.magnitudes, survey.redshifts, SurveyFacts.of_sdss_bands(PIXEL))
    did(f"{counted(samples, 'galaxy')} simulated, {file_size(path.stat().st_size)}")
    return path
