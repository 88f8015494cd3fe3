import pytest

from tasks.reproduction.ours import Ours


@pytest.mark.parametrize(
    ("values", "shown"),
    [
        ([203.1, 203.2], "203 MB"),
        ([204.0, 210.0], "207 MB (204 to 210)"),
        ([203.0], "203 MB"),
        ([], "—"),
    ],
)
def test_figure_of_two_runs_tells_their_spread_where_it_is_seen(monkeypatch, values, shown):
    ours = Ours(None)
    monkeypatch.setattr(ours, "values", lambda figure, **axes: values)
    assert ours.shown("peak_rss_mb", "MB") == shown
