"""What the history of a Step Functions execution holds: phases, attempts of ranks, state transitions.

Pure functions of the events that GetExecutionHistory returns. On AWS every event names the one before it
(`previousEventId`), which ties an attempt to its item; emulators may leave that out, and then the ranks of attempts
stay unknown, but phases and counts do not.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from functools import cached_property
from typing import Any

from inference.contract.json_text import parse_json
from inference.contract.validation import shorten
from inference.errors import BadInput

_ENDED = {"ExecutionSucceeded", "ExecutionFailed", "ExecutionAborted", "ExecutionTimedOut"}
_SCHEDULED = {"TaskScheduled", "LambdaFunctionScheduled"}
_SUCCEEDED = {"TaskSucceeded", "LambdaFunctionSucceeded"}
_FAILED = {
    "TaskFailed",
    "TaskTimedOut",
    "TaskStartFailed",
    "TaskSubmitFailed",
    "LambdaFunctionFailed",
    "LambdaFunctionTimedOut",
    "LambdaFunctionStartFailed",
    "LambdaFunctionScheduleFailed",
}
_ITERATION_ENDED = {"MapIterationSucceeded", "MapIterationFailed", "MapIterationAborted"}


@dataclass(frozen=True, kw_only=True)
class Phase:
    """A state of the machine itself, or several in a row: `started_at` to `ended_at`, seconds since the epoch."""

    name: str
    started_at: float
    ended_at: float | None

    @property
    def seconds(self) -> float | None:
        """How long it took; None while it runs."""
        return None if self.ended_at is None else self.ended_at - self.started_at


@dataclass(frozen=True, kw_only=True)
class Attempt:
    """One call of a function by the machine.

    Attributes:
        rank: of the item it was made for; None where the history does not tie them, and outside the map.
        started_at, ended_at: seconds since the epoch; when it was scheduled and when it had ended.
        error, cause: why it failed, as the machine has them; None when it did not.
    """

    rank: int | None
    started_at: float
    ended_at: float
    error: str | None = None
    cause: str | None = None


class History:
    """A history's events, in the order of their ids.

    Args:
        events: as GetExecutionHistory returns them, all of them or some, in any order.

    Raises:
        BadInput: an event is not of the kind that Step Functions writes; the message says which.
    """

    def __init__(self, events: Iterable[object]) -> None:
        self._events = sorted(map(_checked, events), key=lambda event: event.id)
        self._by_id = {event.id: event for event in self._events}
        self._ranks: dict[int, int | None] = {}

    @cached_property
    def states(self) -> list[tuple[str, Phase]]:
        """The machine's own states in the order they were entered, each with its kind (`Task`, `Map`, ...)."""
        found: list[tuple[str, Phase]] = []
        opened: tuple[str, _Event] | None = None
        for event in self._events:
            if opened is None and event.type.endswith("StateEntered"):
                opened = event.type.removesuffix("StateEntered"), event
            elif opened and event.type == f"{opened[0]}StateExited" and event.named_as(opened[1]):
                found.append(_phase(opened, event.at))
                opened = None
        if opened is not None:
            found.append(_phase(opened, self.ended_at))
        return found

    @property
    def initialize(self) -> Phase | None:
        """The states before the map, from the first one's entry to the last one's exit."""
        return _span([phase for _, phase in self.states[: self._map_index]])

    @property
    def map(self) -> Phase | None:
        """The first map, the state that runs the ranks."""
        return self.states[self._map_index][1] if self._map_index < len(self.states) else None

    @property
    def summarize(self) -> Phase | None:
        """The states after the map."""
        return _span([phase for _, phase in self.states[self._map_index + 1 :]])

    @property
    def _map_index(self) -> int:
        kinds = [kind for kind, _ in self.states]
        return kinds.index("Map") if "Map" in kinds else len(kinds)

    @property
    def ended_at(self) -> float | None:
        """When the execution ended, seconds since the epoch; None while it runs."""
        return next((event.at for event in reversed(self._events) if event.type in _ENDED), None)

    @cached_property
    def _in_map(self) -> list["_Event"]:
        inside: list[_Event] = []
        entered: _Event | None = None
        for event in self._events:
            if entered is None and event.type == "MapStateEntered":
                entered = event
            elif entered and event.type == "MapStateExited" and event.named_as(entered):
                break
            elif entered:
                inside.append(event)
        return inside

    @property
    def items(self) -> int | None:
        """How many items an inline map was given, where the history says so."""
        lengths = [event.details.get("length") for event in self._in_map if event.type == "MapStateStarted"]
        return next((length for length in lengths if isinstance(length, int)), None)

    @property
    def succeeded(self) -> int:
        """Items of an inline map that have ended well so far."""
        types = [event.type for event in self._in_map]
        if "MapIterationStarted" in types:
            return types.count("MapIterationSucceeded")
        return sum(kind in _SUCCEEDED for kind in types)

    @property
    def item_seconds(self) -> list[float]:
        """How long each item of an inline map took, in the order they were started; empty where they are not known."""
        started: dict[int, float] = {}
        seconds: dict[int, float] = {}
        for event in self._in_map:
            index = event.details.get("index")
            if not isinstance(index, int):
                continue
            if event.type == "MapIterationStarted":
                started.setdefault(index, event.at)
            elif event.type in _ITERATION_ENDED and index in started:
                seconds[index] = event.at - started[index]
        return [seconds[index] for index in started if index in seconds]

    @property
    def peak_concurrency(self) -> int:
        """The most calls of an inline map that were under way at once; 0 where that is not known."""
        kinds = [event.type for event in self._in_map]
        return peak((kind in _SCHEDULED) - (kind in _SUCCEEDED | _FAILED) for kind in kinds)

    @property
    def state_transitions(self) -> int:
        """Transitions that AWS bills in this history: every state entered, and every retry of a task."""
        entered = [event.type for event in self._events if event.type.endswith("StateEntered")]
        tasks = entered.count("TaskStateEntered")
        scheduled = sum(event.type in _SCHEDULED for event in self._events)
        return len(entered) - tasks + max(tasks, scheduled)

    @property
    def retries(self) -> int | None:
        """Tasks scheduled again after a failure; None where the history does not say what came before what."""
        scheduled = [event for event in self._events if event.type in _SCHEDULED]
        if not all(event.previous for event in scheduled):
            return None
        return sum(self._before(event, _FAILED) is not None for event in scheduled)

    @property
    def attempts(self) -> list[Attempt]:
        """Every call that has ended, in the order of their ends."""
        found: list[Attempt] = []
        last: _Event | None = None
        for event in self._events:
            if event.type in _SCHEDULED:
                last = event
            elif event.type in _SUCCEEDED | _FAILED:
                start = self._before(event, _SCHEDULED) if event.previous else last
                failed = event.type in _FAILED
                found.append(
                    Attempt(
                        rank=self._rank_of(event),
                        started_at=min(start.at, event.at) if start else event.at,
                        ended_at=event.at,
                        error=str(event.details.get("error") or event.type) if failed else None,
                        cause=str(event.details.get("cause") or "") if failed else None,
                    )
                )
        return found

    def _before(self, event: "_Event", types: set[str]) -> "_Event | None":
        """The nearest event of these types that led to `event` within one task."""
        while (before := self._by_id.get(event.previous)) is not None:
            if before.type in types:
                return before
            if before.type.endswith("StateEntered") or before.type == "MapIterationStarted":
                return None
            event = before
        return None

    def _rank_of(self, event: "_Event") -> int | None:
        """The RANK in the input of the task, or of its iteration, that `event` belongs to."""
        way: list[int] = []
        rank: int | None = None
        at: _Event | None = event
        while at is not None and not at.type.startswith("Map"):  # an iteration's start, or a map's end
            if at.id in self._ranks:
                rank = self._ranks[at.id]
                break
            way.append(at.id)
            rank = rank_in(next((at.details[key] for key in ("input", "parameters") if key in at.details), None))
            if rank is not None:
                break
            at = self._by_id.get(at.previous)
        self._ranks |= dict.fromkeys(way, rank)
        return rank


@dataclass(frozen=True)
class _Event:
    id: int
    type: str
    at: float
    previous: int
    details: Mapping[str, Any]

    def named_as(self, other: "_Event") -> bool:
        return bool(self.details.get("name") == other.details.get("name"))


def _checked(event: object) -> _Event:
    if not isinstance(event, Mapping):
        raise BadInput("an event of the execution's history is no object")
    number, kind, at, previous = (event.get(key) for key in ("id", "type", "timestamp", "previousEventId"))
    if not isinstance(number, int) or isinstance(number, bool) or number < 1:
        raise BadInput(f"an event of the execution's history has a wrong id: {shorten(number, 40)}")
    if not isinstance(kind, str):
        raise BadInput(f"event {number} of the execution's history has no type")
    if isinstance(at, datetime):
        at = at.timestamp()
    if not isinstance(at, int | float) or isinstance(at, bool) or not 0 <= at < 1e11:
        raise BadInput(f"event {number} of the execution's history has a wrong timestamp: {shorten(at, 40)}")
    details: object = next((value for key, value in event.items() if str(key).endswith("EventDetails")), {})
    if not isinstance(details, Mapping):
        raise BadInput(f"event {number} of the execution's history has wrong details: {shorten(details, 40)}")
    earlier = previous if isinstance(previous, int) and 0 < previous < number else 0
    return _Event(number, kind, float(at), earlier, details)


def _phase(opened: tuple[str, _Event], ended_at: float | None) -> tuple[str, Phase]:
    kind, entered = opened
    name = str(entered.details.get("name") or kind)
    return kind, Phase(name=name, started_at=entered.at, ended_at=ended_at)


def _span(phases: list[Phase]) -> Phase | None:
    if not phases:
        return None
    names = ", ".join(phase.name for phase in phases)
    return Phase(name=names, started_at=phases[0].started_at, ended_at=phases[-1].ended_at)


def peak(steps: Iterable[int]) -> int:
    """The highest that a count gets by +1 and -1, never falling below 0."""
    highest = level = 0
    for step in steps:
        level = max(level + step, 0)
        highest = max(highest, level)
    return highest


def parsed(text: object) -> Any:
    """JSON text parsed; None where it is not sound JSON."""
    try:
        return parse_json(text, "the text") if isinstance(text, str) else None
    except BadInput:
        return None


def rank_in(text: object) -> int | None:
    """The RANK in a task's input (contract, "Rank event"), alone or as the payload of an `invoke`."""
    document = parsed(text)
    if isinstance(document, Mapping) and isinstance(document.get("Payload"), Mapping):
        document = document["Payload"]
    rank = document.get("RANK") if isinstance(document, Mapping) else None
    try:
        return int(rank) if isinstance(rank, str | int) and not isinstance(rank, bool) and int(rank) >= 0 else None
    except ValueError:
        return None
