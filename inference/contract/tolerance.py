"""How many failed ranks a run tolerates."""

from inference.contract.counted import counted


def exceeded(failed: int, ranks: int, percentage: float | None, count: int | None) -> str | None:
    """Which limit so many failed ranks exceed, as a clause; None if they are tolerated, or no limit is given.

    As in a distributed map of Step Functions: either limit may be given, or both, and exceeding one suffices.

    Args:
        failed: ranks that were given up.
        ranks: of the run.
        percentage: `tolerated_failure_percentage`, 0 to 100.
        count: `tolerated_failure_count`.
    """
    if count is not None and failed > count:
        tolerated = {0: "none is", 1: "only 1 is"}.get(count, f"only {count:,} are")
        return f"{counted(failed, 'rank')} failed, and {tolerated} tolerated (tolerated_failure_count)"
    if percentage is not None and 100 * failed > percentage * ranks:
        share = f"{100 * failed / ranks:.3g} %"
        return f"{share} of the ranks failed, more than the {percentage:g} % tolerated (tolerated_failure_percentage)"
    return None
