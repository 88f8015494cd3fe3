"""The three functions, which do all of their work and lose the answer of each first call, as a broken line does.

The emulator calls functions without a line that a test could cut, and has one name for all that goes wrong in them.
So a function fails here once it has worked, and the machine repeats it by that name (`ERROR`) as it does by those of a
lost answer.
"""

from inference.handler import lambda_handler
from inference.state_machine import initialize, summarize
from inference.storage.store import Store

ERROR = "Runtime.HandlerError"
_STORE = Store("s3://")


def _forgetting(function, name_of):
    def handler(event, context):
        answer = function(event, context)
        name = f"answers/{function.__name__}-{name_of(event)}"
        _STORE.write("cosmicai-test", f"{name}/{context.aws_request_id}", b"")
        if _STORE.create("cosmicai-test", f"{name}.lost", context.aws_request_id.encode()):
            raise ConnectionError("the answer was lost on the way")
        return answer

    return handler


first = _forgetting(initialize, lambda event: "once")
rank = _forgetting(lambda_handler, lambda event: event["RANK"])
last = _forgetting(summarize, lambda event: "once")
