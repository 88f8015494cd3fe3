"""One identity: every AWS client and the object store see the same region, partition, endpoint and credentials."""

import ast
import os
import stat
from pathlib import Path

import pytest

from inference.errors import BadInput, StoreError
from inference.storage import aws_identity, s3
from inference.storage.store import Store
from tasks.aws import emulator
from tasks.aws.session import client

ROOT = Path(__file__).parents[3]


def calls_of_client():
    """First arguments of `client(...)` and `make_client(...)` in the sources."""
    for top in ("flows", "tasks", "inference"):
        for path in (ROOT / top).rglob("*.py"):
            for node in ast.walk(ast.parse(path.read_text())):
                is_call = isinstance(node, ast.Call) and isinstance(node.func, ast.Name)
                if is_call and node.func.id in {"client", "make_client"} and isinstance(node.args[0], ast.Constant):
                    yield node.args[0].value


SERVICES = sorted(set(calls_of_client()))


@pytest.fixture
def no_aws(monkeypatch, tmp_path):
    """An environment that names no AWS; what it returns writes the configuration file."""
    for name in [name for name in os.environ if name.startswith("AWS_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "config"))
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(tmp_path / "credentials"))
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")

    def write(config="", **variables):
        (tmp_path / "config").write_text(config)
        for name, value in variables.items():
            monkeypatch.setenv(name, value)

    return write


KEYS = {"AWS_ACCESS_KEY_ID": "AKIDTEST", "AWS_SECRET_ACCESS_KEY": "secret"}
PROFILE = "[default]\nregion = eu-west-1\naws_access_key_id = AKIDPROFILE\naws_secret_access_key = secret\n"


def test_the_walk_over_the_clients_finds_them_all():
    assert {"s3", "lambda", "logs", "stepfunctions", "cloudformation", "sts"} <= set(SERVICES)


@pytest.mark.parametrize(
    ("config", "variables", "region", "partition", "host"),
    [
        ("", {**KEYS, "AWS_REGION": "eu-central-1"}, "eu-central-1", "aws", ".eu-central-1.amazonaws.com"),
        ("", {**KEYS, "AWS_DEFAULT_REGION": "eu-north-1"}, "eu-north-1", "aws", ".eu-north-1.amazonaws.com"),
        (
            PROFILE,
            {"AWS_REGION": "ap-south-1", "AWS_DEFAULT_REGION": "us-west-2"},
            "ap-south-1",
            "aws",
            ".ap-south-1.amazonaws.com",
        ),
        (PROFILE, {}, "eu-west-1", "aws", ".eu-west-1.amazonaws.com"),
        (PROFILE + "endpoint_url = http://10.0.0.9:4566\n", {}, "eu-west-1", "aws", "http://10.0.0.9:4566"),
        ("", {**KEYS, "AWS_REGION": "cn-north-1"}, "cn-north-1", "aws-cn", ".cn-north-1.amazonaws.com.cn"),
        ("", {**KEYS, "AWS_REGION": "us-gov-west-1"}, "us-gov-west-1", "aws-us-gov", "us-gov-west-1.amazonaws.com"),
        ("", KEYS | emulator.environment("http://127.0.0.1:4566"), "us-east-1", "aws", "http://127.0.0.1:4566"),
        (
            PROFILE + "endpoint_url = http://10.0.0.9\n",
            {"AWS_IGNORE_CONFIGURED_ENDPOINT_URLS": "true"},
            "eu-west-1",
            "aws",
            ".eu-west-1.amazonaws.com",
        ),
    ],
    ids=[
        "AWS_REGION",
        "AWS_DEFAULT_REGION",
        "AWS_REGION before the profile",
        "the profile",
        "endpoint_url of the profile",
        "China",
        "GovCloud",
        "the emulator",
        "endpoint_url ignored",
    ],
)
def test_identity_is_the_same_for_clients_and_the_store(no_aws, config, variables, region, partition, host):
    no_aws(config, **variables)
    agree(["lambda"], region, partition, host)


def test_identity_is_the_same_for_every_service(no_aws):
    no_aws(PROFILE, AWS_REGION="cn-north-1")
    agree(SERVICES, "cn-north-1", "aws-cn", ".cn-north-1.amazonaws.com.cn")


def agree(services, region, partition, host):
    """Assert that clients and store have this region, partition and host, and the same keys."""
    for service in services:
        meta = client(service).meta
        assert (meta.region_name, meta.partition) == (region, partition)
        assert host in meta.endpoint_url
    options = s3.options()
    assert (options["region"], aws_identity.s3_access().partition) == (region, partition)
    assert host in options["endpoint"]
    keys = aws_identity.session().get_credentials().access_key
    assert options["credential_provider"]()["access_key_id"] == keys


def test_identity_with_fips_is_that_of_fips_hosts_everywhere(no_aws):
    no_aws(**KEYS, AWS_REGION="us-west-2", AWS_USE_FIPS_ENDPOINT="true")
    assert s3.options()["endpoint"] == "https://s3-fips.us-west-2.amazonaws.com"
    assert "fips" in client("lambda").meta.endpoint_url


def test_identity_without_a_region_is_the_one_that_the_caller_knows(no_aws):
    no_aws(**KEYS)
    assert client("logs", "sa-east-1").meta.region_name == "sa-east-1"
    assert s3.options()["region"] == "us-east-1"


def test_identities_share_what_botocore_reads_about_its_services(no_aws, tmp_path):
    loaders = []
    for variables in ({"AWS_REGION": "eu-west-1"}, {"AWS_REGION": "us-east-1"}, {"AWS_DATA_PATH": str(tmp_path)}):
        no_aws(**KEYS, **variables)
        loaders.append(aws_identity.session().get_component("data_loader"))
    assert loaders[0] is loaders[1]
    assert str(tmp_path) in loaders[2].search_paths


def test_identity_of_a_missing_profile_names_it_for_store_and_client(no_aws):
    no_aws(AWS_PROFILE="mars")
    with pytest.raises(BadInput, match="no AWS profile 'mars'"):
        client("lambda")
    with pytest.raises(StoreError, match="no AWS profile 'mars'"):
        Store("s3://").list("cosmicai-test", "survey")


def test_identity_of_keys_that_expire_is_asked_for_with_every_request(no_aws, tmp_path):
    script, count = tmp_path / "keys.sh", tmp_path / "count"
    script.write_text(
        f'#!/bin/sh\necho x >> {count}\nn=$(wc -l < {count})\nat=$(date -u -d "+5 seconds" +%Y-%m-%dT%H:%M:%SZ)\n'
        'echo "{\\"Version\\": 1, \\"AccessKeyId\\": \\"AKID$n\\", \\"SecretAccessKey\\": \\"s\\",'
        ' \\"SessionToken\\": \\"t\\", \\"Expiration\\": \\"$at\\"}"\n'
    )
    script.chmod(script.stat().st_mode | stat.S_IXUSR)
    no_aws(f"[default]\nregion = eu-west-1\ncredential_process = {script}\n")
    provider = s3.options()["credential_provider"]
    first, second = provider(), provider()
    assert first["expires_at"] is not None
    assert first["access_key_id"] != second["access_key_id"], "five seconds are within botocore's time of refreshing"


def test_identity_that_cannot_be_refreshed_says_so_in_the_stores_words(no_aws):
    no_aws("[default]\nregion = eu-west-1\ncredential_process = /bin/false\n")
    with pytest.raises(StoreError, match="the AWS credentials cannot be fetched") as refused:
        Store("s3://").list("cosmicai-test", "survey")
    assert "\n" not in str(refused.value)


def test_identity_inside_a_function_needs_no_botocore(no_aws):
    no_aws(**KEYS, AWS_REGION="eu-west-1", AWS_LAMBDA_FUNCTION_NAME="cosmic-executor")
    assert s3.options() == {}
    no_aws(AWS_ENDPOINT_URL_S3="https://s3.cn-north-1.amazonaws.com.cn")
    assert s3.options()["endpoint"] == "https://s3.cn-north-1.amazonaws.com.cn"
