"""The pages of a store over http on this machine: read-only, pages alone, and none outside the folder.

Starlette resolves paths and refuses those that lead out, by dots or by links. The Host header is checked, so that no
website can read the pages through a name of its own that leads here.
"""

import html
import os
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import quote

from inference.contract.validation import sanitize_text

if TYPE_CHECKING:
    from starlette.applications import Starlette

_HEADERS = {
    "Content-Security-Policy": "default-src 'none'; style-src 'unsafe-inline'; img-src data:",
    "X-Content-Type-Options": "nosniff",
    "Cache-Control": "no-cache",
}
_PAGE = ".html"


def report_app(folder: Path) -> "Starlette":
    """The application that serves the pages of a folder, and a list of them at its root.

    Args:
        folder: a local store; it may come to be later.
    """
    from starlette.applications import Starlette
    from starlette.exceptions import HTTPException
    from starlette.middleware import Middleware
    from starlette.middleware.trustedhost import TrustedHostMiddleware
    from starlette.requests import Request
    from starlette.responses import HTMLResponse, Response
    from starlette.routing import Route
    from starlette.staticfiles import StaticFiles

    files = StaticFiles(directory=folder, check_dir=False)

    async def page(request: Request) -> Response:
        path = request.path_params["path"]
        if not path.endswith(_PAGE) or any(part.startswith(".") for part in path.split("/")):
            raise HTTPException(404)
        answer = await files.get_response(path, request.scope)
        answer.headers.update(_HEADERS)
        return answer

    def pages(request: Request) -> Response:
        return HTMLResponse(_list(folder), headers=_HEADERS)

    routes = [Route("/", pages, methods=["GET"]), Route("/{path:path}", page, methods=["GET"])]
    hosts = Middleware(TrustedHostMiddleware, allowed_hosts=["127.0.0.1", "localhost"])
    return Starlette(routes=routes, middleware=[hosts])


def _list(folder: Path) -> str:
    """Links to all pages of the folder, the newest first."""
    found = [path for path in folder.rglob(f"*{_PAGE}") if path.is_file() and not path.is_symlink()]
    shown = [path for path in found if not any(part.startswith(".") for part in path.relative_to(folder).parts)]
    names = [path.relative_to(folder).as_posix() for path in sorted(shown, key=_made, reverse=True)]
    links = [(quote(os.fsencode(name)), html.escape(sanitize_text(name))) for name in names]
    items = "".join(f'<li><a href="/{address}">{shown}</a></li>' for address, shown in links)
    body = f"<ul>{items}</ul>" if names else "<p>There is none yet.</p>"
    style = "<style>:root{color-scheme:light dark}body{font:16px/1.6 system-ui,sans-serif;margin:2rem}</style>"
    start = '<!doctype html><html lang="en"><meta charset="utf-8"><title>Reports · cosmic-flows</title>'
    return f"{start}{style}<h1>Reports, the newest first</h1>{body}</html>"


def _made(path: Path) -> float:
    try:
        return path.stat().st_mtime
    except OSError:  # gone since it was listed
        return 0.0


@contextmanager
def served(folder: Path, port: socket.socket) -> Iterator[None]:
    """Serve the pages of a folder on a port inside the block.

    Args:
        folder: a local store.
        port: bound to a port of the loopback interface.
    """
    import uvicorn

    server = uvicorn.Server(uvicorn.Config(report_app(folder), log_level="error", timeout_graceful_shutdown=2))
    thread = threading.Thread(target=server.run, kwargs={"sockets": [port]}, name="cosmic-reports", daemon=True)
    thread.start()
    try:
        yield
    finally:
        server.should_exit = True
        thread.join()
