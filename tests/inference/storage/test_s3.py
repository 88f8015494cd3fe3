import threading
import traceback
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from inference.errors import StoreError
from inference.storage import s3
from inference.storage.store import Store

REFUSAL = """Generic S3 error: Error performing GET http://h/b?list-type=2 in 2ms - Server returned status code: {}
<?xml version="1.0" encoding="UTF-8"?>
<Error><Code>{}</Code><Message>no</Message></Error>"""


@pytest.fixture
def nowhere(monkeypatch, tmp_path):
    """An environment without any credentials."""
    for name in (
        "AWS_ACCESS_KEY_ID",
        "AWS_SECRET_ACCESS_KEY",
        "AWS_PROFILE",
        "AWS_ENDPOINT_URL",
        "AWS_ENDPOINT_URL_S3",
    ):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(tmp_path / "none"))
    monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "none"))
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    return monkeypatch


@pytest.mark.parametrize(
    ("status", "code", "raised"),
    [
        ("404 Not Found", "NoSuchBucket", "no such bucket"),
        ("403 Forbidden", "AccessDenied", "may not do that"),
        ("403 Forbidden", "InvalidAccessKeyId", "AWS_ACCESS_KEY_ID"),
        ("403 Forbidden", "SignatureDoesNotMatch", "AWS_SECRET_ACCESS_KEY"),
        ("400 Bad Request", "ExpiredToken", "expired"),
        ("301 Moved Permanently", "PermanentRedirect", "another region"),
        ("400 Bad Request", "AuthorizationHeaderMalformed", "another region"),
    ],
)
def test_a_refusal_is_explained_by_its_code(status, code, raised):
    reason = s3.reason_of(OSError(REFUSAL.format(status, code)))
    assert raised in reason
    assert "http" not in reason


@pytest.mark.parametrize(
    ("status", "raised"),
    [
        ("400 Bad Request", "have expired"),
        ("403 Forbidden", "may not"),
        ("301 Moved", "region"),
        ("404 Not Found", "no such object"),
    ],
)
def test_a_refusal_without_a_body_is_reported_by_its_status(status, raised):
    assert raised in s3.reason_of(
        OSError(f"Error performing HEAD http://h/b/k - Server returned status code: {status}")
    )


def test_an_unknown_code_is_shown():
    assert s3.reason_of(OSError(REFUSAL.format("418", "Teapot"))).startswith("Teapot: ")


def test_what_is_no_refusal_of_s3_keeps_its_first_line():
    assert s3.reason_of(OSError("no space left\nat all")) == "no space left"


def test_no_credentials_at_all_are_reported_with_what_to_set(nowhere):
    with pytest.raises(StoreError, match="no AWS credentials: set AWS_ACCESS_KEY_ID"):
        Store("s3://").list("cosmicai-test", "survey")


def test_an_endpoint_that_does_not_answer_is_named(nowhere):
    nowhere.setenv("AWS_ACCESS_KEY_ID", "x")
    nowhere.setenv("AWS_SECRET_ACCESS_KEY", "canary-secret")
    nowhere.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:9")
    with pytest.raises(
        StoreError, match=r"cannot list cosmicai-test/survey: nothing answers at http://127\.0\.0\.1:9"
    ) as raised:
        Store("s3://").list("cosmicai-test", "survey")
    assert "canary" not in str(raised.value)


def test_a_profiles_credentials_are_used_where_the_environment_has_none(nowhere, tmp_path):
    (tmp_path / "credentials").write_text("[default]\naws_access_key_id = key\naws_secret_access_key = secret\n")
    nowhere.setenv("AWS_SHARED_CREDENTIALS_FILE", str(tmp_path / "credentials"))
    assert s3.options()["credential_provider"]()["access_key_id"] == "key"


def test_an_endpoint_with_a_password_is_refused_and_not_repeated(nowhere):
    nowhere.setenv("AWS_ACCESS_KEY_ID", "x")
    nowhere.setenv("AWS_SECRET_ACCESS_KEY", "x")
    nowhere.setenv("AWS_ENDPOINT_URL", "http://user:canary@127.0.0.1:9")
    with pytest.raises(StoreError, match="has a user or a password") as raised:
        Store("s3://").read("cosmicai-test", "a")
    assert "canary" not in "".join(traceback.format_exception(raised.value))


def test_what_s3_repeats_of_a_request_stays_out_of_tracebacks(nowhere):
    """S3 answers a bad token with the token in its reply, which the store's own errors quote."""

    class Answers(BaseHTTPRequestHandler):
        def log_message(self, *_):
            pass

        def do_GET(self):
            token = self.headers["X-Amz-Security-Token"]
            body = f"<Error><Code>InvalidToken</Code><Token-0>{token}</Token-0></Error>".encode()
            self.send_response(400)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

    server = ThreadingHTTPServer(("127.0.0.1", 0), Answers)
    threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True).start()
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        nowhere.setenv(name, "x")
    nowhere.setenv("AWS_SESSION_TOKEN", "canary-token")
    nowhere.setenv("AWS_ENDPOINT_URL", f"http://127.0.0.1:{server.server_port}")
    try:
        with pytest.raises(StoreError, match="the session token is not valid") as raised:
            Store("s3://").read("cosmicai-test", "a")
    finally:
        server.shutdown()
        server.server_close()
    assert "InvalidToken" in str(raised.value.__cause__)
    assert "canary" not in "".join(traceback.format_exception(raised.value))
