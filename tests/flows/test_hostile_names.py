"""A run whose folders are named to break whatever shows them: terminal, page, server."""

import json
import urllib.request

import pytest
from markdown_it import MarkdownIt

from flows.cli.commands.run import show
from flows.run import run
from inference.errors import RunIncomplete
from tasks.prefect_support.running_ui import RunningUi, announced
from tests.support.surveys import request_of, write_survey

pytestmark = pytest.mark.slow
NAME = (
    "<script>alert(1)</script> [/red] $x^$ | `[a](javascript:alert(2)) :smile: %s {0} \"'<img src=x onerror=alert(3)>"
)


@pytest.fixture(scope="module")
def document(prefect_server, tmp_path_factory, tiny_weights):
    """The document of such a run, one of whose partitions is cut off."""
    from tests.support.prefect_command import reporting_to

    root = tmp_path_factory.mktemp("store")
    write_survey(root / "cosmicai-test" / NAME, (8, 8, 8))
    broken = root / "cosmicai-test" / NAME / "3.pt"
    broken.write_bytes(broken.read_bytes()[:3000])
    request = request_of(data_prefix=NAME, result_path=f"results/{NAME}", model=str(tiny_weights))
    ui = RunningUi("http://127.0.0.1:4200/api", "http://127.0.0.1:4201", str(root))
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PREFECT_HOME", str(tmp_path_factory.mktemp("home")))
        with announced(ui), reporting_to(prefect_server), pytest.raises(RunIncomplete) as caught:
            run(request, str(root), workers=0)
    return caught.value.document


def test_run_with_hostile_names_completes_all_sound_ranks(document):
    assert (document["ranks_done"], document["missing_ranks"]) == (2, [2])
    assert document["result_path"] == f"cosmicai-test/results/{NAME}"


def test_terminal_shows_hostile_names_letter_for_letter(document, capsys):
    show(document)
    out = "".join(capsys.readouterr().out.split())
    assert f"runcosmicai-test/results/{''.join(NAME.split())}" in out
    assert ":smile:" in out


def test_artifacts_hold_no_foreign_markup_or_link(document, prefect_server):
    asked = urllib.request.Request(
        f"{prefect_server}/artifacts/filter",
        json.dumps({"limit": 200, "artifacts": {"flow_run_id": {"any_": [document["run_id"]]}}}).encode(),
        {"Content-Type": "application/json"},
    )
    with urllib.request.urlopen(asked) as reply:
        artifacts = json.loads(reply.read())
    assert {"cosmic-report", "cosmic-report-page", "cosmic-plan", "cosmic-staged"} <= {
        each["key"] for each in artifacts
    }
    for each in artifacts:
        texts = [each["description"] or ""]
        if each["type"] == "markdown":
            texts.append(each["data"])
        for text in texts:
            tokens = MarkdownIt("commonmark", {"html": True}).enable("table").parse(text)
            kinds = {token.type for token in tokens}
            for token in tokens:
                kinds |= {child.type for child in token.children or ()}
                links = [child.attrs["href"] for child in token.children or () if child.type == "link_open"]
                assert all(
                    str(link).startswith("http://127.0.0.1:4201/cosmicai-test/results/%3Cscript") for link in links
                ), (each["key"], links)
            assert not kinds & {"html_inline", "html_block", "image"}, (each["key"], text)
