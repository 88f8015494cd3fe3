import json
import os
import subprocess
import sys

import pytest

from inference.errors import BadInput
from inference.storage import s3
from tasks.aws.session import client
from tasks.prefect_support import aws_credentials
from tasks.prefect_support.aws_credentials import credentials

CANARY = "canary-secret-0123456789"
PRINT_KEYS = """
import json
from inference.storage import s3
options = s3.options()
keys = options["credential_provider"]()
print(json.dumps([options["region"], options["endpoint"], keys["access_key_id"], keys["token"]]))
"""


def save(name="cosmic-test", **fields):
    from prefect_aws import AwsCredentials

    AwsCredentials(**fields).save(name, overwrite=True)
    return name


def test_credentials_without_a_block_change_nothing():
    before = dict(os.environ)
    with credentials(None):
        assert dict(os.environ) == before


@pytest.mark.slow
@pytest.mark.usefixtures("prefect_api")
class TestBlock:
    def test_keys_reach_clients_store_and_workers_and_no_environment(self, without_aws):
        without_aws.setenv("AWS_ACCESS_KEY_ID", "before")
        without_aws.setenv("AWS_SESSION_TOKEN", "of another account")
        before = dict(os.environ)
        block = save(
            aws_access_key_id="key-of-the-block",
            aws_secret_access_key=CANARY,
            region_name="eu-west-3",
            aws_client_parameters={"endpoint_url": "http://127.0.0.1:9"},
        )
        with credentials(block):
            meta = client("lambda").meta
            assert (meta.region_name, meta.endpoint_url) == ("eu-west-3", "http://127.0.0.1:9")
            assert s3.options()["credential_provider"]()["access_key_id"] == "key-of-the-block"
            worker = subprocess.run([sys.executable, "-c", PRINT_KEYS], capture_output=True, text=True, check=True)
            assert json.loads(worker.stdout)[:3] == ["eu-west-3", "http://127.0.0.1:9", "key-of-the-block"]
            assert CANARY not in str(dict(os.environ))
        assert dict(os.environ) == before

    def test_keys_that_are_saved_anew_during_a_run_are_used(self, without_aws):
        without_aws.setattr(aws_credentials, "_SESSION_KEYS_S", 0.0)
        fields = {"aws_secret_access_key": CANARY, "region_name": "eu-west-3", "aws_session_token": "t"}
        block = save(aws_access_key_id="first", **fields)
        with credentials(block):
            save(aws_access_key_id="second", **fields)
            without_aws.setattr(aws_credentials, "_SESSION_KEYS_S", 60.0)
            assert s3.options()["credential_provider"]()["access_key_id"] == "second"

    def test_keys_of_an_assumed_role_come_from_sts(self, aws):
        block = save(
            assume_role_arn="arn:aws:iam::000000000000:role/science",
            assume_role_kwargs={"RoleSessionName": "test", "DurationSeconds": 900},
            region_name="us-east-1",
        )
        with credentials(block):
            keys = s3.options()["credential_provider"]()
            assert keys["access_key_id"].startswith("ASIA")
            assert keys["token"]

    def test_profile_is_left_to_the_clients(self, without_aws, tmp_path):
        (tmp_path / "none").write_text(
            "[profile science]\nregion = sa-east-1\n[science]\naws_access_key_id = AKID\naws_secret_access_key = s\n"
        )
        without_aws.setenv("AWS_ACCESS_KEY_ID", "of another account")
        without_aws.setenv("AWS_SECRET_ACCESS_KEY", "x")
        with credentials(save(profile_name="science")):
            assert client("lambda").meta.region_name == "sa-east-1"
            assert s3.options()["credential_provider"]()["access_key_id"] == "AKID"

    def test_missing_block_is_named(self, without_aws):
        with pytest.raises(BadInput, match="no AwsCredentials block 'none'"), credentials("none"):
            pass

    def test_keys_are_not_served_to_a_process_without_the_token(self, without_aws):
        import urllib.error
        import urllib.request

        with credentials(save(aws_access_key_id="AKID", aws_secret_access_key=CANARY, region_name="eu-west-3")):
            address = os.environ["AWS_CONTAINER_CREDENTIALS_FULL_URI"]
            with pytest.raises(urllib.error.HTTPError, match="403"):
                urllib.request.urlopen(urllib.request.Request(address, headers={"Authorization": "guess"}), timeout=5)
