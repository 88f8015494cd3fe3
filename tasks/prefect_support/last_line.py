"""The last line of a run's log says what was done, in place of Prefect's "Finished in state Completed()"."""

import logging
import re
from collections import defaultdict
from datetime import UTC, datetime

from prefect.context import EngineContext, TaskRunContext

_PREFECTS = re.compile(r"Finished in state (\w+)\(")
_sentences: defaultdict[str, dict[str, str]] = defaultdict(dict)  # by the run's id, then by the state it is to end in


def did(what: str) -> None:
    """Say what the task or flow run did that calls this, the last thing it does; its seconds are added."""
    if (context := TaskRunContext.get() or EngineContext.get()) is not None:
        ended(f"{what}, in {(datetime.now(UTC) - context.start_time).total_seconds():.2f} s")


def ended(sentence: str, state: str = "Completed") -> None:
    """Give the run that calls this its last line, should it end in that state; outside of a run nothing happens."""
    if (task := TaskRunContext.get()) is not None:
        _sentences[str(task.task_run.id)][state] = sentence
    elif (flow := EngineContext.get()) is not None and flow.flow_run is not None:
        _sentences[str(flow.flow_run.id)][state] = sentence


def _reword(record: logging.LogRecord) -> bool:
    """Put a run's own sentence where Prefect names the state alone; a filter of its loggers that drops nothing."""
    if found := _PREFECTS.match(str(record.msg)):
        run = getattr(record, "task_run_id", None) or getattr(record, "flow_run_id", None)
        record.msg = _sentences.pop(str(run), {}).get(found[1], record.msg)
        record.args = ()
    return True


for _name in ("prefect.task_runs", "prefect.flow_runs"):
    logging.getLogger(_name).addFilter(_reword)
