"""The template as CloudFormation's own rules, and ours, have it."""

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from tasks.aws.function_package import PYTHON

ROOT = Path(__file__).parents[2]
TEMPLATE = ROOT / "deployments" / "aws" / "stack.yaml"


class _Loader(yaml.SafeLoader):
    pass


def _plain(loader, suffix, node):
    if isinstance(node, yaml.ScalarNode):
        return {suffix: loader.construct_scalar(node)}
    if isinstance(node, yaml.SequenceNode):
        return {suffix: loader.construct_sequence(node, deep=True)}
    return {suffix: loader.construct_mapping(node, deep=True)}


_Loader.add_multi_constructor("!", _plain)


@pytest.fixture(scope="module")
def template():
    return yaml.load(TEMPLATE.read_text(), _Loader)  # noqa: S506 - a safe loader that knows the short functions


@pytest.fixture(scope="module")
def resources(template):
    return template["Resources"]


def of_type(resources, kind):
    return {name: resource["Properties"] for name, resource in resources.items() if resource["Type"] == kind}


def test_cfn_lint_finds_nothing():
    lint = Path(sys.executable).with_name("cfn-lint")
    ended = subprocess.run(
        [lint, "--regions", "us-east-1", "--", TEMPLATE], capture_output=True, text=True, check=False
    )
    assert (ended.returncode, ended.stdout) == (0, ""), ended.stdout + ended.stderr


def test_the_bucket_is_encrypted_private_versioned_and_kept(resources):
    (bucket,) = of_type(resources, "AWS::S3::Bucket").values()
    assert bucket["BucketEncryption"]
    assert set(bucket["PublicAccessBlockConfiguration"].values()) == {True}
    assert bucket["VersioningConfiguration"] == {"Status": "Enabled"}
    for name in ("Bucket", "BucketPolicy"):  # a bucket that is kept stays protected
        assert resources[name]["DeletionPolicy"] == "RetainExceptOnCreate"
        assert resources[name]["UpdateReplacePolicy"] == "Retain"


def statements(resources):
    for name, role in of_type(resources, "AWS::IAM::Role").items():
        for policy in role["Policies"]:
            for statement in policy["PolicyDocument"]["Statement"]:
                yield name, statement["If"][1] if "If" in statement else statement


def test_no_role_has_more_than_it_names(resources):
    assert not any("ManagedPolicyArns" in role for role in of_type(resources, "AWS::IAM::Role").values())
    for role, statement in statements(resources):
        actions = statement["Action"] if isinstance(statement["Action"], list) else [statement["Action"]]
        assert not any("*" in action for action in actions), role
        if statement["Resource"] == "*":  # which log delivery asks for
            assert all(action.startswith("logs:") for action in actions), role


def test_only_the_machine_may_invoke_and_only_its_three_functions(resources):
    invoking = [(role, s) for role, s in statements(resources) if "lambda:InvokeFunction" in s["Action"]]
    ((role, statement),) = invoking
    assert role == "MachineRole"
    assert len(statement["Resource"]) == 3


def test_another_bucket_of_data_is_only_read(resources):
    for _, statement in statements(resources):
        if "DataBucketName" in json.dumps(statement["Resource"]):
            assert set(statement["Action"] if isinstance(statement["Action"], list) else [statement["Action"]]) <= {
                "s3:ListBucket",
                "s3:GetObject",
            }


def test_functions_run_this_projects_code_and_their_logs_expire(resources):
    functions = of_type(resources, "AWS::Lambda::Function")
    handlers = {each["FunctionName"]["Sub"]: each["Handler"]["If"][2] for each in functions.values()}
    assert handlers == {
        "${NamePrefix}data-parallel-init": "inference.state_machine.initialize",
        "${NamePrefix}cosmic-executor": "inference.handler.lambda_handler",
        "${NamePrefix}resultSummary": "inference.state_machine.summarize",
    }
    logs = of_type(resources, "AWS::Logs::LogGroup").values()
    assert {log["LogGroupName"]["Sub"] for log in logs} >= {f"/aws/lambda/{name}" for name in handlers}
    assert all("RetentionInDays" in log for log in logs)


def definition(resources, template, limited):
    text, variables = resources["Machine"]["Properties"]["DefinitionString"]["Sub"]
    values = {name: str(parameter.get("Default", name)) for name, parameter in template["Parameters"].items()}
    _, fixed, by_request = variables["MapLimit"]["If"]
    values["MapLimit"] = fixed["Sub"].replace("${MapConcurrency}", "40") if limited else by_request
    return json.loads(re.sub(r"\$\{([\w.:]+)\}", lambda found: values.get(found[1], found[1]), text))


@pytest.fixture(scope="module")
def machine(resources, template):
    return definition(resources, template, limited=False)


def test_numbers_in_the_machine_are_numbers(machine):
    assert machine["TimeoutSeconds"] == 3600
    assert machine["States"]["Map"]["ToleratedFailurePercentage"] == 0


def test_ranks_at_once_are_the_requests_unless_the_deployment_says(resources, template, machine):
    mapped = machine["States"]["Map"]
    assert (mapped.get("MaxConcurrency"), mapped["MaxConcurrencyPath"]) == (None, "$.planned.answer.max_concurrency")
    mapped = definition(resources, template, limited=True)["States"]["Map"]
    assert (mapped["MaxConcurrency"], mapped.get("MaxConcurrencyPath")) == (40, None)


def test_the_machine_is_initialize_a_distributed_map_and_summarize(machine):
    assert machine["StartAt"] == "Initialize"
    assert [machine["States"][name].get("Next") for name in ("Initialize", "Map", "Summarize")] == [
        "Map",
        "Summarize",
        None,
    ]
    processor = machine["States"]["Map"]["ItemProcessor"]
    assert processor["ProcessorConfig"] == {"Mode": "DISTRIBUTED", "ExecutionType": "STANDARD"}
    assert list(processor["States"]) == ["Model Inference"]


def test_initialize_is_given_the_request_and_its_executions_name(machine):
    merged = (
        r"""States.JsonMerge($, States.StringToJson(States.Format('\{"execution":"{}"\}', $$.Execution.Id)), false)"""
    )
    assert machine["States"]["Initialize"]["Parameters"]["Payload.$"] == merged


def test_map_that_fails_is_summarized_and_fails_with_its_own_error(machine):
    states = machine["States"]
    (caught,) = states["Map"]["Catch"]
    assert (caught["ErrorEquals"], caught["Next"]) == (["States.ALL"], "Release")
    assert states["Release"]["Parameters"] == states["Summarize"]["Parameters"]
    assert {states["Release"]["Next"], *(each["Next"] for each in states["Release"]["Catch"])} == {"Failed"}
    assert states["Failed"]["ErrorPath"] == f"{caught['ResultPath']}.Error"


def test_calls_are_retried_with_jitter_on_429_and_service_errors_alone(machine):
    tasks = [state for state in machine["States"].values() if state["Type"] == "Task"]
    tasks += machine["States"]["Map"]["ItemProcessor"]["States"].values()
    assert len(tasks) == 4
    for task in tasks:
        throttled, service = task["Retry"]
        assert throttled["ErrorEquals"] == ["Lambda.TooManyRequestsException"]
        assert service["ErrorEquals"] == [
            "Lambda.ServiceException",
            "Lambda.AWSLambdaException",
            "Lambda.SdkClientException",
        ]
        assert {throttled["JitterStrategy"], service["JitterStrategy"]} == {"FULL"}


def test_throttled_rank_is_retried_about_as_long_as_an_execution_lasts(machine):
    throttled = machine["States"]["Map"]["ItemProcessor"]["States"]["Model Inference"]["Retry"][0]
    longest = [
        min(throttled["IntervalSeconds"] * throttled["BackoffRate"] ** number, throttled["MaxDelaySeconds"])
        for number in range(throttled["MaxAttempts"])
    ]
    assert sum(longest) / 2 > 0.75 * machine["TimeoutSeconds"], "full jitter waits half as long on average"


def test_what_ranks_return_does_not_add_up_in_the_machine(machine):
    mapped = machine["States"]["Map"]
    assert mapped["ResultPath"] is None
    assert list(mapped["ItemProcessor"]["States"]["Model Inference"]["ResultSelector"]) == ["request_id.$"]


def test_functions_image_and_package_agree_on_the_python_version(resources):
    runtimes = {function["Runtime"]["If"][2] for function in of_type(resources, "AWS::Lambda::Function").values()}
    assert runtimes == {f"python{PYTHON}"}
    files = [ROOT / "deployments" / "aws" / name for name in ("Dockerfile", "Dockerfile.scripts")]
    images = [image for file in files for image in re.findall(r"^FROM (\S+)", file.read_text(), re.MULTILINE)]
    assert set(images) == {f"public.ecr.aws/lambda/python:{PYTHON}"}
    assert tuple(map(int, PYTHON.split("."))) >= (3, 12), (
        "Lambda's older ones have a libc that numpy does not load with"
    )


@pytest.mark.parametrize("name", ["Dockerfile", "Dockerfile.scripts"])
def test_an_image_copies_what_is_there_and_what_docker_is_shown(name):
    folder = ROOT / "deployments" / "aws"
    copied = re.findall(r"^COPY (?!--)(.+) \S+$", (folder / name).read_text(), re.MULTILINE)
    shown = (folder / f"{name}.dockerignore").read_text().splitlines()
    for path in " ".join(copied).split():
        assert (ROOT / path).exists()
        assert f"!{path}" in shown


def test_the_image_for_scripts_holds_torch_and_timm_beside_the_rest():
    text = (ROOT / "deployments" / "aws" / "Dockerfile.scripts").read_text()
    assert {"torch", "timm"} <= set((ROOT / "deployments" / "aws" / "requirements-scripts.txt").read_text().split())
    assert "-r /build/requirements.txt -r /build/requirements-scripts.txt" in text


def test_the_image_holds_no_torch_and_what_it_holds_is_pinned():
    wanted = (ROOT / "deployments" / "aws" / "requirements.txt").read_text().split()
    pinned = {line.split("==")[0].lower() for line in (ROOT / "constraints.txt").read_text().split()}
    assert "torch" not in wanted
    assert set(wanted) <= pinned
