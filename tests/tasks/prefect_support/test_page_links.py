import pytest

from inference.storage.store import Store
from tasks.prefect_support.page_links import page_url
from tasks.prefect_support.running_ui import RunningUi, address_of, announced


@pytest.fixture
def ui(tmp_path, monkeypatch):
    monkeypatch.setenv("PREFECT_HOME", str(tmp_path / "home"))
    return RunningUi("http://127.0.0.1:4200/api", "http://127.0.0.1:4201", str(tmp_path / "store"))


def test_page_in_the_store_links_to_cosmic_ui_while_it_runs(ui, tmp_path):
    store = Store(tmp_path / "store")
    assert page_url(store, "bucket", "results/a b/report.html") is None
    with announced(ui):
        assert page_url(store, "bucket", "results/a b/report.html") == (
            "http://127.0.0.1:4201/bucket/results/a%20b/report.html"
        )


def test_page_outside_the_store_has_no_link(ui, tmp_path):
    with announced(ui):
        assert address_of(tmp_path / "elsewhere" / "report.html") is None


@pytest.mark.parametrize(
    ("region", "expected"),
    [
        ("eu-west-1", "https://console.aws.amazon.com/s3/object/bucket?region=eu-west-1&prefix=a%2Freport.html"),
        ("cn-north-1", "https://console.amazonaws.cn/s3/object/bucket?region=cn-north-1&prefix=a%2Freport.html"),
    ],
)
def test_page_on_s3_links_to_the_console_of_its_partition(region, expected, monkeypatch):
    for name, value in {"REGION": region, "ACCESS_KEY_ID": "key", "SECRET_ACCESS_KEY": "secret"}.items():
        monkeypatch.setenv(f"AWS_{name}", value)
    monkeypatch.delenv("AWS_ENDPOINT_URL", raising=False)
    assert page_url(Store("s3://"), "bucket", "a/report.html") == expected


def test_page_on_an_endpoint_that_stands_for_s3_links_there(monkeypatch):
    for name, value in {"REGION": "eu-west-1", "ACCESS_KEY_ID": "key", "SECRET_ACCESS_KEY": "secret"}.items():
        monkeypatch.setenv(f"AWS_{name}", value)
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:9000")
    assert page_url(Store("s3://"), "bucket", "a/report.html") == "http://127.0.0.1:9000/bucket/a/report.html"
