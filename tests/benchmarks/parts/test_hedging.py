import statistics

from benchmarks.parts.hedging import MEDIAN_S, RANKS, SLOW, synthetic


def test_benchmark_times_have_their_stragglers_and_repeat_exactly():
    times = synthetic(SLOW)
    assert (len(times), times) == (RANKS, synthetic(SLOW))
    middle = statistics.median(times)
    assert 0.95 * MEDIAN_S < middle < 1.05 * MEDIAN_S
    assert sum(seconds > 3 * middle for seconds in times) == SLOW * RANKS
    assert max(synthetic(0.0)) < 1.4 * middle, "without stragglers nobody is late"
