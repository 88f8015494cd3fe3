import statistics

from benchmarks.parts.hedging import MEDIAN_S, RANKS, SLOW, synthetic


def test_the_benchmarks_own_times_have_the_stragglers_that_they_claim_and_are_the_same_every_time():
    times = synthetic(SLOW)
    assert (len(times), times) == (RANKS, synthetic(SLOW))
    middle = statistics.median(times)
    assert 0.95 * MEDIAN_S < middle < 1.05 * MEDIAN_S
    assert sum(seconds > 3 * middle for seconds in times) == SLOW * RANKS
    assert max(synthetic(0.0)) < 1.4 * middle, "without stragglers nobody is late"
