import os
import socket
from contextlib import contextmanager

import httpx
import pytest

from flows.cli.report_server import served


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    outside = tmp_path_factory.mktemp("outside")
    (outside / "secret.html").write_text("secret")
    folder = tmp_path_factory.mktemp("store")
    for name in ("bucket/results/a b/report.html", "bucket/results/.cosmic/report.html", "bucket/survey/1.pt"):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(f"<p>{name}</p>")
    (folder / "bucket" / "link.html").symlink_to(outside / "secret.html")
    (folder / "bucket" / "way-out").symlink_to(outside)
    return folder


@contextmanager
def pages_of(folder):
    port = socket.create_server(("127.0.0.1", 0))
    with served(folder, port), httpx.Client(base_url=f"http://127.0.0.1:{port.getsockname()[1]}") as client:
        yield client


@pytest.fixture(scope="module")
def pages(folder):
    with pages_of(folder) as client:
        yield client


def test_report_is_served_as_a_page_that_runs_no_script(pages):
    answer = pages.get("/bucket/results/a%20b/report.html")
    assert answer.text == "<p>bucket/results/a b/report.html</p>"
    assert answer.headers["content-type"].startswith("text/html")
    assert "default-src 'none'" in answer.headers["content-security-policy"]


def test_root_lists_the_pages_of_the_store(pages):
    listed = pages.get("/").text
    assert 'href="/bucket/results/a%20b/report.html"' in listed
    assert ".cosmic" not in listed
    assert "link.html" not in listed


@pytest.mark.parametrize(
    "path",
    [
        "/bucket/survey/1.pt",
        "/bucket/results/.cosmic/report.html",
        "/bucket/link.html",
        "/bucket/way-out/secret.html",
        "/../secret.html",
        "/bucket/%2e%2e/%2e%2e/outside0/secret.html",
        "/bucket/..%2f..%2foutside0%2fsecret.html",
        "/%2fetc/passwd.html",
        "/bucket/%00.html",
        "/bucket/results",
        "/none.html",
    ],
)
def test_nothing_else_is_served(pages, path):
    answer = pages.get(path)
    assert answer.status_code == 404
    assert "secret" not in answer.text


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "PATCH"])
def test_nothing_can_be_changed(pages, folder, method):
    assert pages.request(method, "/bucket/results/a%20b/report.html").status_code == 405
    assert (folder / "bucket/results/a b/report.html").exists()


def test_website_with_a_name_that_leads_here_is_refused(pages):
    assert pages.get("/", headers={"Host": "evil.example"}).status_code == 400


def test_names_that_are_no_text_or_turn_it_are_listed_and_escaped(tmp_path):
    names = (b"bucket/\xff.html", "bucket/\u202egnp.html".encode(), b"bucket/<b> \x1b[2J.html")
    for name in names:
        path = tmp_path / os.fsdecode(name)
        path.parent.mkdir(exist_ok=True)
        path.write_text("<p>here</p>")
    with pages_of(tmp_path) as pages:
        listed = pages.get("/").text
        for link in ("%FF.html", "%E2%80%AEgnp.html", "%3Cb%3E%20%1B%5B2J.html"):
            assert f'href="/bucket/{link}"' in listed
        assert {"\u202e", "\x1b", "<b>", "\udcff"}.isdisjoint(listed)


def test_store_that_is_not_there_yet_has_an_empty_list(tmp_path):
    with pages_of(tmp_path / "none") as pages:
        assert "There is none yet" in pages.get("/").text
        assert pages.get("/bucket/report.html").status_code == 404
