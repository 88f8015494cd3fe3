"""Prefect's artifacts, published while its server answers: no run ends because nobody can be shown how it went.

A server that is gone costs a run one short wait and is reported once. It is asked again every half minute.
"""

import logging
import queue
import threading
import time
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from functools import wraps
from typing import Any, ParamSpec, TypeVar

import httpx
from prefect import artifacts
from prefect.context import FlowRunContext, SettingsContext, get_settings_context
from prefect.events.worker import EventsWorker
from prefect.exceptions import ObjectNotFound
from prefect.settings import PREFECT_API_URL, PREFECT_CLIENT_MAX_RETRIES, Settings

from tasks.reporting.formatting import plain, without_markup
from tasks.reporting.terminal import announce

ASK_AGAIN_S = 30.0
_RETRIES = 1  # two seconds; Prefect's own five take a minute of silence
_P = ParamSpec("_P")
_R = TypeVar("_R")


class _Server:
    """Whether one Prefect server answers."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._gone_until = 0.0

    def is_gone(self) -> bool:
        return time.monotonic() < self._gone_until

    def note(self, *, gone: bool) -> None:
        with self._lock:
            first = gone and not self._gone_until
            self._gone_until = time.monotonic() + ASK_AGAIN_S if gone else 0.0
            logging.raiseExceptions = not gone  # else each line of the log that it does not take is reported
        if first:
            announce("The Prefect server does not answer. The run goes on without it; its results lie in the store.")


_servers: defaultdict[str | None, _Server] = defaultdict(_Server)  # by the URL of the API


def give_up() -> None:
    """Drop the events that Prefect still keeps for a server that is gone: at exit it would try each for ten seconds."""
    with EventsWorker._instance_cache_lock:
        workers = list(EventsWorker._instances.values())  # type: ignore[misc]
    for worker in workers:
        with suppress(queue.Empty):
            while True:
                worker._queue.get_nowait()


_last_settings: tuple[Settings, Settings] | None = None  # those found last, and the same with few retries


def _few_retries() -> SettingsContext:
    """The settings with few retries, to be entered; made once, because Prefect takes 40 ms of CPU to make them."""
    global _last_settings
    context = get_settings_context()
    if _last_settings is None or _last_settings[0] is not context.settings:
        _last_settings = context.settings, context.settings.copy_with_update({PREFECT_CLIENT_MAX_RETRIES: _RETRIES})
    return SettingsContext(profile=context.profile, settings=_last_settings[1])


def _while_it_answers(publish: Callable[_P, _R]) -> Callable[_P, _R | None]:
    """The function, tried while the server answers; the description of an artifact begins with the name of its run."""

    @wraps(publish)
    def tried(*args: _P.args, **kwargs: _P.kwargs) -> _R | None:
        server = _servers[PREFECT_API_URL.value()]
        if server.is_gone() or args[:1] == (None,):  # None: an artifact that could not be created, to be updated
            return None
        context = FlowRunContext.get()
        if context is not None and context.flow_run is not None and "description" in kwargs:
            kwargs["description"] = f"{plain(context.flow_run.name)}: {kwargs['description']}"
        try:
            with _few_retries():
                made = publish(*args, **kwargs)
        except (httpx.HTTPError, ObjectNotFound) as error:
            if isinstance(error, httpx.HTTPStatusError) and error.response.status_code < 500:
                raise  # it answered that something is wrong with the artifact
            server.note(gone=True)
            return None
        server.note(gone=False)
        return made

    return tried


def create_table_artifact(rows: Sequence[Mapping[Any, Any]], **words: Any) -> Any:
    """Prefect's table artifact, whose page shows the cells: what comes from elsewhere brings no markup there."""
    cells = [
        {name: without_markup(value) if isinstance(value, str) else value for name, value in row.items()}
        for row in rows
    ]
    return _create_table_artifact(cells, **words)


_create_table_artifact = _while_it_answers(artifacts.create_table_artifact)
create_markdown_artifact = _while_it_answers(artifacts.create_markdown_artifact)
create_image_artifact = _while_it_answers(artifacts.create_image_artifact)
create_link_artifact = _while_it_answers(artifacts.create_link_artifact)
create_progress_artifact = _while_it_answers(artifacts.create_progress_artifact)
update_progress_artifact = _while_it_answers(artifacts.update_progress_artifact)
