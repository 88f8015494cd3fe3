"""The REPORT line that Lambda writes at the end of every invocation: what is billed, in Lambda's own words."""

import base64
import re
from dataclasses import dataclass

_LINE = re.compile(r"REPORT RequestId: (?P<id>[\w-]{1,64})(?P<rest>[^\n]{0,2000})")
_FIELD = re.compile(r"(?P<name>[A-Z][A-Za-z ]{2,30}): (?P<value>\d{1,12}(?:\.\d{1,6})?) (?P<unit>ms|MB)\b")
_MS, _MB = "ms", "MB"


@dataclass(frozen=True, kw_only=True)
class Report:
    """One invocation, as Lambda reports it.

    Attributes:
        request_id: of the invocation.
        duration_s: in the handler.
        billed_s: billed; since August 2025 with the start-up of every function (AWS Lambda pricing).
        memory_mb: allocated; `max_memory_mb` used at most; MB of 1,048,576 bytes.
        init_s: start-up before the handler, 0 when warm.
    """

    request_id: str
    duration_s: float
    billed_s: float
    memory_mb: int
    max_memory_mb: int
    init_s: float


def report_in(tail: str) -> Report | None:
    """The REPORT line in the log tail that comes with a reply, base64 of UTF-8; None where that is damaged."""
    try:
        return parse_report(base64.b64decode(tail).decode("utf-8", "replace"))
    except ValueError:
        return None


def parse_report(text: str) -> Report | None:
    """The last whole REPORT line in a piece of log, whatever stands between its fields; None if there is none.

    >>> report = parse_report(
    ...     "REPORT RequestId: 8f2c Duration: 2.10 ms Billed Duration: 3 ms Memory Size: 1024 MB Max Memory Used: 99 MB"
    ... )
    >>> report.billed_s, report.memory_mb, report.init_s
    (0.003, 1024, 0.0)
    """
    for line in reversed(list(_LINE.finditer(text))):
        fields = {
            found["name"].strip(): (float(found["value"]), found["unit"]) for found in _FIELD.finditer(line["rest"])
        }
        wanted = (("Duration", _MS), ("Billed Duration", _MS), ("Memory Size", _MB), ("Max Memory Used", _MB))
        if all(name in fields and fields[name][1] == unit for name, unit in wanted):
            init = fields.get("Init Duration", fields.get("Restore Duration", (0.0, _MS)))[0]
            return Report(
                request_id=line["id"],
                duration_s=fields["Duration"][0] / 1e3,
                billed_s=fields["Billed Duration"][0] / 1e3,
                memory_mb=int(fields["Memory Size"][0]),
                max_memory_mb=int(fields["Max Memory Used"][0]),
                init_s=init / 1e3,
            )
    return None
