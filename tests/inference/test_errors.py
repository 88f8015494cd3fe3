import pytest

from inference.errors import BadInput, CosmicError, RunIncomplete


def error_message(missing, failed, planned=8):
    causes = [{"rank": rank, "data_path": [f"{rank}.pt"], "error": error} for rank, error in failed]
    document = {"ranks_planned": planned, "missing_ranks": missing, "failed_ranks": causes}
    error = RunIncomplete(document)
    assert isinstance(error, CosmicError)
    assert error.document is document
    assert "\n" not in str(error)
    return str(error)


def test_an_incomplete_run_names_each_missing_rank_and_its_cause():
    message = error_message([1, 5], [(1, "1.pt is truncated"), (5, "it took too long")])
    assert "2 of 8 ranks are missing (rank 1: 1.pt is truncated; rank 5: it took too long);" in message
    assert "the same request runs only the missing ones" in message


def test_ranks_with_one_cause_are_reported_together():
    assert "(ranks 1, 5: the store is away)" in error_message(
        [1, 5], [(1, "the store is away"), (5, "the store is away")]
    )


def test_a_cause_of_many_ranks_says_how_many_it_does_not_name():
    message = error_message(list(range(190)), [(rank, "no room") for rank in range(190)], planned=1200)
    assert "(ranks 0, 1, 2, 3, 4, 5, 6, 7, 8, 9 and 180 more: no room)" in message


def test_beyond_five_causes_the_ranks_left_are_counted():
    message = error_message(list(range(7)), [(rank, f"cause {rank}") for rank in range(7)])
    assert "rank 4: cause 4; 2 more)" in message


def test_ranks_that_are_missing_without_a_cause_are_reported_as_such():
    assert "2 of 8 ranks are missing (no cause is known);" in error_message([1, 5], [])
    assert "(rank 1: died; 1 more)" in error_message([1, 5], [(1, "died")])


@pytest.mark.parametrize("name", ["x" * 5_000, "a/" * 5_000])
def test_name_without_end_is_shown_by_its_ends(name):
    message = str(BadInput(f"there is no file first-{name}-last.pt: name one"))
    assert message.startswith("there is no file first-")
    assert message.endswith("-last.pt: name one")
    assert len(message) < 320


def test_name_as_long_as_a_folder_takes_is_shown_whole():
    assert str(BadInput(f"{'n' * 255} is no survey")) == f"{'n' * 255} is no survey"
