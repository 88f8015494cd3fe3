from tasks.planning.pace import pace, pace_of


def test_pace_is_measured_once_and_within_its_bounds():
    assert 0.5 <= pace() <= 20.0
    assert pace() is pace()


def test_a_core_about_as_fast_corrects_nothing():
    assert [pace_of(rate) for rate in (90_000.0, 100_000.0, 110_000.0)] == [1.0, 1.0, 1.0]
    assert pace_of(20_000.0) == 5.0
