"""For processes of a test that have this folder on PYTHONPATH: workers note every call of the handler and take longer.

COSMIC_CALLS names the file of calls (rank, attempt, process); COSMIC_SLOW is how long, in seconds, each takes more;
while the file COSMIC_HOLD is there, none goes on.
"""

import os
import sys
import time

if "inference.worker" in sys.orig_argv and "COSMIC_CALLS" in os.environ:
    from inference import handler

    def noted(event, context, handle=handler.lambda_handler):
        with open(os.environ["COSMIC_CALLS"], "a") as log:  # noqa: PTH123
            log.write(f"{event['RANK']} {event['attempt']} {os.getpid()}\n")
        time.sleep(float(os.environ.get("COSMIC_SLOW", "0")))
        while os.path.exists(os.environ.get("COSMIC_HOLD", "")):  # noqa: PTH110
            time.sleep(0.02)
        return handle(event, context)

    handler.lambda_handler = noted
