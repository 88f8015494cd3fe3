"""State machines in the contract's old form, on the emulator: small functions around a map, inline or distributed."""

import io
import json
import uuid
import zipfile
from dataclasses import dataclass, replace

from tests.support.wire_examples import EVENT, RESULT

ROLE = "arn:aws:iam::000000000000:role/cosmic-tests"

INITIALIZE = """
import json, boto3
def handler(event, context):
    key = event["result_path"] + "/events.json"
    if event.get("fail") == "Initialize":
        raise ValueError("there is no data under that prefix")
    items = boto3.client("s3").get_object(Bucket=event["bucket"], Key=key)["Body"].read()
    return {"items": json.loads(items), "items_bucket": event["bucket"], "items_key": key}
"""

# Writes a rank's result as this project does, or as the replaced system did, after what EXEC_ARGS asks for.
WORK = """
import json, time, boto3
RESULT = json.loads('''%s''')
def handler(event, context):
    s3, words = boto3.client("s3"), event.get("EXEC_ARGS", "").split()
    folder, rank = event["RESULT_PATH"], event["RANK"]
    if "fail" in words:
        raise RuntimeError("rank " + rank + " is out of luck")
    if "wait" in words:
        time.sleep(%s)
    if "idle" in words:
        return "done"
    started = time.time()
    if event.get("SCRIPT"):
        record = {"total_cpu_time (seconds)": 2.0, "sample_persec": 150.0, "num_batches": 3, "device": "cpu"}
    else:
        predictions = folder + "/predictions/" + rank + ".safetensors"
        s3.put_object(Bucket=event["RESULT_BUCKET"], Key=predictions, Body=b"redshifts")
        fields = {"rank": int(rank), "world_size": int(event["WORLD_SIZE"]), "fingerprint": event["fingerprint"]}
        fields |= {"data_path": event["DATA_PATH"], "result_path": folder, "predictions_path": predictions}
        fields |= {"started_at": started, "ended_at": time.time(), "request_id": context.aws_request_id}
        record = RESULT | fields
    s3.put_object(Bucket=event["RESULT_BUCKET"], Key=folder + "/" + rank + ".json", Body=json.dumps(record))
    return "done"
"""

SUMMARIZE = """
def handler(event, context):
    return {"ranks": len(event.get("results", []))}
"""


@dataclass
class Machine:
    """A deployed machine, its bucket, and the name of its ranks' function."""

    arn: str
    bucket: str
    function: str
    s3: object

    def plan(self, ranks, result_path="results/one", words=None, **changes):
        """Write events where the machine's Initialize finds them, and return them; `words` a rank are what it does."""
        words = words or {}
        events, wires = [], []
        for rank in range(ranks):
            event = replace(
                EVENT,
                rank=rank,
                world_size=ranks,
                bucket=self.bucket,
                result_bucket=self.bucket,
                data_bucket=self.bucket,
                data_paths=(f"survey/{rank}.pt",),
                result_path=result_path,
                store="s3://",
                **changes,
            )
            events.append(event)
            wires.append(event.to_wire() | ({"EXEC_ARGS": words[rank]} if rank in words else {}))
        self.s3.put_object(Bucket=self.bucket, Key=f"{result_path}/events.json", Body=json.dumps(wires))
        return events

    def request(self, result_path="results/one", **extra):
        """The machine's input."""
        return {"bucket": self.bucket, "result_path": result_path, "run_id": "a run/1"} | extra


def deploy_machine(clients, children=None, wait_s=1.0, limit_s=60, **map_fields):
    """Make the three functions, a bucket and the machine.

    `clients` gives a boto3 client by name; `children` is STANDARD or EXPRESS for a distributed map, None for an inline
    one.
    """
    mark = uuid.uuid4().hex[:8]
    s3, functions, states = (clients(name) for name in ("s3", "lambda", "stepfunctions"))
    s3.create_bucket(Bucket=f"machines-{mark}")
    result = json.dumps(RESULT.to_wire()).replace("\\", "\\\\")
    sources = {"init": INITIALIZE, "work": WORK % (result, wait_s), "sum": SUMMARIZE}
    arns = {}
    for name, source in sources.items():
        made = functions.create_function(
            FunctionName=f"{name}-{mark}",
            Runtime="python3.11",
            Role=ROLE,
            Handler="index.handler",
            Code={"ZipFile": _zipped(source)},
            Timeout=limit_s,
            MemorySize=512,
        )
        arns[name] = made["FunctionArn"]
    machine = states.create_state_machine(
        name=f"old-{mark}", definition=json.dumps(_definition(arns, children, map_fields)), roleArn=ROLE
    )
    return Machine(machine["stateMachineArn"], f"machines-{mark}", f"work-{mark}", s3)


def _zipped(source):
    data = io.BytesIO()
    with zipfile.ZipFile(data, "w") as archive:
        archive.writestr("index.py", source)
    return data.getvalue()


def _definition(arns, children, map_fields):
    retry = {
        "ErrorEquals": ["Lambda.ServiceException", "Lambda.AWSLambdaException", "Lambda.TooManyRequestsException"],
        "IntervalSeconds": 1,
        "BackoffRate": 2,
        "MaxAttempts": 3,
    }
    work = {"Type": "Task", "Resource": arns["work"], "Retry": [retry], "End": True}
    inner = {"StartAt": "Model Inference", "States": {"Model Inference": work}}
    where = {"ItemsPath": "$.items"}
    if children:
        inner["ProcessorConfig"] = {"Mode": "DISTRIBUTED", "ExecutionType": children}
        where = {
            "ItemReader": {
                "Resource": "arn:aws:states:::s3:getObject",
                "ReaderConfig": {"InputType": "JSON"},
                "Parameters": {"Bucket.$": "$.items_bucket", "Key.$": "$.items_key"},
            }
        }
    fan_out = {"Type": "Map", "ItemProcessor": inner, "ResultPath": "$.results", "Next": "Summarize"}
    return {
        "StartAt": "Initialize",
        "TimeoutSeconds": 3600,
        "States": {
            "Initialize": {"Type": "Task", "Resource": arns["init"], "Retry": [retry], "Next": "Map"},
            "Map": fan_out | where | map_fields,
            "Summarize": {"Type": "Task", "Resource": arns["sum"], "End": True},
        },
    }
