"""Histories of executions as AWS writes them: with iterations, and every event naming the one before it."""

import json


def event(number, kind, at, before=0, **details):
    """One event, `at` seconds after 100."""
    fields = {"id": number, "type": kind, "timestamp": 100 + at, "previousEventId": before}
    field = next(
        (f"state{end}" for end in ("Entered", "Exited") if kind.endswith(f"State{end}")), kind[0].lower() + kind[1:]
    )
    return fields | ({f"{field}EventDetails": details} if details else {})


def _wire(rank):
    return json.dumps({"RANK": str(rank), "WORLD_SIZE": "3"})


INLINE = [
    event(1, "ExecutionStarted", 0),
    event(2, "TaskStateEntered", 0, 1, name="Initialize", input="{}"),
    event(3, "LambdaFunctionScheduled", 0, 2, input="{}"),
    event(4, "LambdaFunctionStarted", 0, 3),
    event(5, "LambdaFunctionSucceeded", 2, 4, output="[]"),
    event(6, "TaskStateExited", 2, 5, name="Initialize"),
    event(7, "MapStateEntered", 2, 6, name="Fan out", input="[]"),
    event(8, "MapStateStarted", 2, 7, length=3),
    event(9, "MapIterationStarted", 2, 8, name="Fan out", index=0),
    event(10, "TaskStateEntered", 2, 9, name="Model Inference", input=_wire(0)),
    event(11, "MapIterationStarted", 2, 8, name="Fan out", index=1),
    event(12, "TaskStateEntered", 2, 11, name="Model Inference", input=_wire(1)),
    event(13, "LambdaFunctionScheduled", 2, 10, input=_wire(0)),
    event(14, "LambdaFunctionScheduled", 2, 12, input=_wire(1)),
    event(15, "LambdaFunctionStarted", 3, 13),
    event(16, "LambdaFunctionStarted", 3, 14),
    event(17, "LambdaFunctionSucceeded", 7, 15, output='"done"'),
    event(18, "TaskStateExited", 7, 17, name="Model Inference"),
    event(19, "MapIterationSucceeded", 7, 18, name="Fan out", index=0),
    event(20, "MapIterationStarted", 7, 8, name="Fan out", index=2),
    event(21, "TaskStateEntered", 7, 20, name="Model Inference", input=_wire(2)),
    event(22, "LambdaFunctionScheduled", 7, 21, input=_wire(2)),
    event(23, "LambdaFunctionStarted", 7, 22),
    event(24, "LambdaFunctionSucceeded", 12, 16, output='"done"'),
    event(25, "TaskStateExited", 12, 24, name="Model Inference"),
    event(26, "MapIterationSucceeded", 12, 25, name="Fan out", index=1),
    event(
        27,
        "LambdaFunctionFailed",
        22,
        23,
        error="RankFailed",
        cause=json.dumps({"errorType": "RankFailed", "errorMessage": "out of luck"}),
    ),
    event(28, "MapIterationFailed", 22, 27, name="Fan out", index=2),
    event(29, "MapStateExited", 22, 28, name="Fan out"),
    event(30, "TaskStateEntered", 22, 29, name="Summarize", input="{}"),
    event(31, "TaskScheduled", 22, 30, parameters="{}"),
    event(32, "TaskSucceeded", 25, 31),
    event(33, "TaskStateExited", 25, 32, name="Summarize"),
    event(34, "ExecutionSucceeded", 25, 33),
]

RETRIED = [
    event(1, "MapStateEntered", 0, name="Map", input="[]"),
    event(2, "MapStateStarted", 0, 1, length=1),
    event(3, "MapIterationStarted", 0, 2, name="Map", index=0),
    event(4, "TaskStateEntered", 0, 3, name="Model Inference", input=_wire(4)),
    event(5, "LambdaFunctionScheduled", 0, 4, input=_wire(4)),
    event(6, "LambdaFunctionFailed", 1, 5, error="Lambda.TooManyRequestsException", cause="Rate Exceeded."),
    event(7, "LambdaFunctionScheduled", 2, 6, input=_wire(4)),
    event(8, "LambdaFunctionStarted", 2, 7),
    event(9, "LambdaFunctionFailed", 4, 8, error="Lambda.Unknown", cause="it died"),
    event(10, "LambdaFunctionScheduled", 6, 9, input=_wire(4)),
    event(11, "LambdaFunctionStarted", 6, 10),
    event(12, "LambdaFunctionSucceeded", 9, 11),
    event(13, "TaskStateExited", 9, 12, name="Model Inference"),
    event(14, "MapIterationSucceeded", 9, 13, name="Map", index=0),
    event(15, "MapStateExited", 9, 14, name="Map"),
    event(16, "ExecutionSucceeded", 9, 15),
]

DISTRIBUTED = [
    event(1, "ExecutionStarted", 0),
    event(2, "TaskStateEntered", 0, 1, name="Initialize", input="{}"),
    event(3, "TaskStateExited", 2, 2, name="Initialize"),
    event(4, "MapStateEntered", 2, 3, name="Map", input="{}"),
    event(5, "MapStateStarted", 2, 4, length=0),
    event(6, "MapRunStarted", 2, 5, mapRunArn="arn:aws:states:us-east-1:000000000000:mapRun:cosmic-flows/Map:1"),
    event(7, "MapRunSucceeded", 32, 6),
    event(8, "MapStateSucceeded", 32, 7),
    event(9, "MapStateExited", 32, 8, name="Map"),
    event(10, "TaskStateEntered", 32, 9, name="Summarize", input="{}"),
    event(11, "TaskStateExited", 33, 10, name="Summarize"),
    event(12, "ExecutionSucceeded", 33, 11),
]


def history_of(ranks, errors):
    """History of an inline map over so many ranks, each called once; `errors` are those of the ranks that failed."""
    events = [
        event(1, "ExecutionStarted", 0),
        event(2, "MapStateEntered", 0, 1, name="Map", input="[]"),
        event(3, "MapStateStarted", 0, 2, length=ranks),
    ]

    def add(kind, at, before, **details):
        events.append(event(len(events) + 1, kind, at, before, **details))
        return len(events)

    for rank in range(ranks):
        last = add("MapIterationStarted", 1, 3, name="Map", index=rank)
        last = add("TaskStateEntered", 1, last, name="Model Inference", input=_wire(rank))
        last = add("LambdaFunctionScheduled", 1, last, input=_wire(rank))
        last = add("LambdaFunctionStarted", 1, last)
        if rank in errors:
            cause = json.dumps({"errorType": "BadPartition", "errorMessage": errors[rank]})
            last = add("LambdaFunctionFailed", 9, last, error="BadPartition", cause=cause)
            add("MapIterationFailed", 9, last, name="Map", index=rank)
        else:
            last = add("LambdaFunctionSucceeded", 9, last, output='"done"')
            last = add("TaskStateExited", 9, last, name="Model Inference")
            add("MapIterationSucceeded", 9, last, name="Map", index=rank)
    add("MapStateExited", 20, len(events), name="Map")
    add("ExecutionSucceeded", 20, len(events))
    return events
