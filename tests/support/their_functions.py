"""The replaced system's machine and functions, in our own words: what they read, answer and write is the contract's."""

import io
import json
import uuid
import zipfile

ROLE = "arn:aws:iam::000000000000:role/cosmic-tests"

# Answers with the list's place, or with the list itself where the machine's map is inline.
INITIALIZE = """
import json, os, boto3
def handler(event, context):
    s3 = boto3.client("s3")
    listed = s3.list_objects_v2(Bucket=event["data_bucket"], Prefix=event["data_prefix"])["Contents"]
    files = [each["Key"] for each in listed if each["Key"].endswith(".pt")][: int(event["file_limit"])]
    ranks = int(event.get("world_size", event["file_limit"]))
    paths = {rank: files[rank % len(files)] for rank in range(ranks)}
    common = {"S3_BUCKET": event["bucket"], "S3_OBJECT_NAME": event["S3_object_name"], "SCRIPT": event["script"]}
    common |= {"S3_OBJECT_TYPE": event["object_type"], "WORLD_SIZE": str(ranks), "DATA_BUCKET": event["data_bucket"]}
    common |= {"DATA_PREFIX": event["data_prefix"], "RESULT_PATH": event["result_path"]}
    common |= {"BATCH_SIZE": int(event["batch_size"])}
    items = [common | {"RANK": str(rank), "DATA_PATH": path} for rank, path in paths.items()]
    plan = json.dumps(event | {"world_size": ranks, "data_map": paths})
    s3.put_object(Bucket=event["bucket"], Key="payload.json", Body=plan)
    if os.environ.get("INLINE"):
        return {"statusCode": 200, "body": items}
    key = "temp-results/" + context.aws_request_id + ".json"
    s3.put_object(Bucket=event["bucket"], Key=key, Body=json.dumps(items))
    return {"statusCode": 200, "body": {"S3_BUCKET": event["bucket"], "S3_KEY": key}}
"""

# Stands for `cosmic-executor`, whose script wrote the record.
EXECUTE = """
import json, boto3
def handler(event, context):
    record = {"total_cpu_time (seconds)": 2.0, "sample_persec": 150.0, "num_batches": 3, "batch_size": 128}
    record |= {"throughput_bps": 150.0 * 164160, "device": "cpu", "data_path": event["DATA_PATH"]}
    record |= {"result_path": event["RESULT_PATH"]}
    key = event["RESULT_PATH"] + "/" + event["RANK"] + ".json"
    boto3.client("s3").put_object(Bucket=event["S3_BUCKET"], Key=key, Body=json.dumps(record))
    return "executed"
"""

SUMMARIZE = """
import json, boto3
def handler(event, context):
    s3, body = boto3.client("s3"), event["body"]
    if not isinstance(body, list):
        body = json.loads(s3.get_object(Bucket=body["S3_BUCKET"], Key=body["S3_KEY"])["Body"].read())
    bucket, folder = body[0]["S3_BUCKET"], body[0]["RESULT_PATH"]
    there = s3.list_objects_v2(Bucket=bucket, Prefix=folder + "/")["Contents"]
    keys = [each["Key"] for each in there if each["Key"].removeprefix(folder + "/").removesuffix(".json").isdecimal()]
    records = [json.loads(s3.get_object(Bucket=bucket, Key=key)["Body"].read()) for key in keys]
    s3.put_object(Bucket=bucket, Key=folder + "/combined_data.json", Body=json.dumps(records))
    return {"statusCode": 200, "body": json.dumps("Combined data uploaded to " + folder + "/combined_data.json")}
"""


def put_function(functions, source, **settings):
    """Make a function of this source; its ARN."""
    data = io.BytesIO()
    with zipfile.ZipFile(data, "w") as archive:
        archive.writestr("index.py", source)
    made = functions.create_function(
        FunctionName=f"their-{uuid.uuid4().hex[:12]}",
        Runtime="python3.11",
        Role=ROLE,
        Handler="index.handler",
        Code={"ZipFile": data.getvalue()},
        Timeout=60,
        **settings,
    )
    return made["FunctionArn"]


def their_machine(states, initialize, execute, summarize, inline=False):
    """Make the replaced system's machine over these functions (contract, "State machine"); its ARN."""
    retry = [
        {
            "ErrorEquals": [
                "Lambda.ServiceException",
                "Lambda.AWSLambdaException",
                "Lambda.SdkClientException",
                "Lambda.TooManyRequestsException",
            ],
            "IntervalSeconds": 1,
            "MaxAttempts": 3,
            "BackoffRate": 2,
        }
    ]

    def task(function, **more):
        return {
            "Type": "Task",
            "Resource": "arn:aws:states:::lambda:invoke",
            "OutputPath": "$.Payload",
            "Parameters": {"FunctionName": function, "Payload.$": "$"},
            "Retry": retry,
            **more,
        }

    inner = {"StartAt": "Model Inference", "States": {"Model Inference": task(execute, End=True)}}
    fan_out = {"Type": "Map", "ResultPath": None, "Next": "Summarize"}
    if inline:
        fan_out |= {"ItemsPath": "$.body", "ItemProcessor": inner | {"ProcessorConfig": {"Mode": "INLINE"}}}
    else:
        where = {"Bucket.$": "$.body.S3_BUCKET", "Key.$": "$.body.S3_KEY"}
        reader = {"Resource": "arn:aws:states:::s3:getObject", "ReaderConfig": {"InputType": "JSON"}}
        distributed = {"Mode": "DISTRIBUTED", "ExecutionType": "EXPRESS"}
        fan_out |= {"ItemReader": reader | {"Parameters": where}, "Label": "Distributed"}
        fan_out |= {"ItemProcessor": inner | {"ProcessorConfig": distributed}}
    definition = {
        "StartAt": "Initialize",
        "TimeoutSeconds": 3600,
        "States": {
            "Initialize": task(initialize, Next="Map"),
            "Map": fan_out,
            "Summarize": task(summarize, End=True),
        },
    }
    name = f"DataParallel-CosmicAI-{uuid.uuid4().hex[:8]}"
    return states.create_state_machine(name=name, definition=json.dumps(definition), roleArn=ROLE)["stateMachineArn"]
