"""deploy, destroy, init, logs: what a person sees of them."""

import json
import os

import pytest

from flows.cli import main
from flows.run import run
from inference.storage.store import Store
from tests.support.surveys import request_of

BUCKET = "cosmicai-test"


@pytest.fixture
def no_credentials(monkeypatch, tmp_path):
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_PROFILE", "AWS_ENDPOINT_URL"):
        monkeypatch.delenv(name, raising=False)
    for name in ("AWS_SHARED_CREDENTIALS_FILE", "AWS_CONFIG_FILE"):
        monkeypatch.setenv(name, str(tmp_path / "none"))
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    monkeypatch.setenv("AWS_REGION", "us-east-1")


@pytest.mark.parametrize(
    "words",
    [
        ["deploy", "--bucket", BUCKET],
        ["destroy"],
        ["logs", f"{BUCKET}/results/x"],
        ["history", "arn:aws:states:us-east-1:000000000000:execution:m:e"],
        ["init", "cosmicai-new", "--store", "s3://"],
        ["open", f"{BUCKET}/results/x", "--store", "s3://"],
        ["catalogue", f"{BUCKET}/results/x", "--store", "s3://"],
        ["metrics", f"{BUCKET}/results/x", "--store", "s3://"],
        ["summarize", f"s3://{BUCKET}/results/x"],
        ["cost", f"{BUCKET}/results/x", "--store", "s3://"],
    ],
    ids=lambda words: words[0],
)
def test_without_credentials_the_message_says_what_to_set_and_exits_2(words, no_credentials, capsys):
    assert main(words) == 2
    expected = capsys.readouterr().err
    assert "no AWS credentials: set AWS_ACCESS_KEY_ID" in expected
    assert "Traceback" not in expected


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (["deploy", "--bucket", "Not A Bucket"], "--bucket"),
        (["deploy", "--bucket", BUCKET, "--data-bucket", "x"], "--data-bucket"),
        (["deploy", "--bucket", BUCKET, "--memory", "-1"], "--memory"),
        (["deploy", "--bucket", BUCKET, "--stack-name", "no_underscore"], "--stack-name"),
        (["logs", "no-path"], "RESULT_PATH"),
    ],
)
def test_wrong_words_exit_2(words, expected, capsys):
    assert main(words) == 2
    assert expected in capsys.readouterr().err


@pytest.mark.slow
class TestOnTheEmulator:
    def test_a_deployment_that_changes_nothing_says_so(self, stack, capsys):
        assert main(["deploy", "--bucket", BUCKET]) == 0
        assert main(["deploy", "--bucket", BUCKET, "--json"]) == 0
        document = json.loads(capsys.readouterr().out.split("\n{", 1)[-1].join(["{", ""]))
        assert document["outputs"]["BucketName"] == BUCKET
        assert not document["changed"]

    def test_destroy_without_a_terminal_and_without_yes_removes_nothing(self, stack, capsys):
        assert main(["destroy", "--with-data"]) == 2
        shown = capsys.readouterr().err
        assert "to be removed: stack cosmic-flows" in shown
        assert f"the bucket {BUCKET} is kept: the stack cosmic-flows did not make it" in shown
        assert "needs --yes" in shown
        assert main(["deploy", "--bucket", BUCKET]) == 0

    def test_destroy_with_another_answer_than_the_stacks_name_removes_nothing(self, stack, monkeypatch, capsys):
        leader, follower = os.openpty()
        os.write(leader, b"yes\n")
        with os.fdopen(follower) as terminal:
            monkeypatch.setattr("sys.stdin", terminal)
            assert main(["destroy"]) == 1
        assert "nothing was removed" in capsys.readouterr().out
        os.close(leader)

    def test_init_makes_a_bucket_once(self, aws, capsys):
        assert main(["init", "cosmicai-fresh", "--store", "s3://"]) == 0
        assert "made scripts/ and results/" in capsys.readouterr().out
        assert Store("s3://").has_bucket("cosmicai-fresh")
        assert main(["init", "cosmicai-fresh", "--store", "s3://"]) == 0
        assert "there already" in capsys.readouterr().out

    def test_the_logs_of_a_run_are_shown_by_rank(self, stack, prefect_api, capsys):
        run(request_of(result_path="results/logged", max_concurrency=2), "s3://", "lambda")
        assert main(["logs", f"{BUCKET}/results/logged"]) == 0
        shown = capsys.readouterr().out
        assert [shown.index(f"rank {rank}, attempt 1") for rank in range(4)] == sorted(
            shown.index(f"rank {rank}, attempt 1") for rank in range(4)
        )
        assert shown.count("REPORT RequestId") == 4
        assert main(["logs", f"{BUCKET}/results/logged", "--rank", "2", "--json"]) == 0
        (call,) = json.loads(capsys.readouterr().out)["invocations"]
        assert call["rank"] == 2
        assert any("REPORT" in line for line in call["lines"])

    def test_a_rank_that_there_was_not_is_reported(self, stack, prefect_api, capsys):
        assert main(["logs", f"{BUCKET}/results/never"]) == 2
        assert "no finished run under cosmicai-test/results/never in s3://" in capsys.readouterr().err
