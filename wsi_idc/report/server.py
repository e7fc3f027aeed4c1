"""The page over a results folder, served on this machine to whoever has its key: `make_app` and `serving`."""

from __future__ import annotations

import asyncio
import hashlib
import json
import os
import re
import secrets
import socket
import threading
from collections.abc import Awaitable, Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.datastructures import MutableHeaders
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import FileResponse, JSONResponse, PlainTextResponse, Response
from starlette.routing import Route

from wsi_idc.errors import OptionError, WsiIdcError
from wsi_idc.report.editing import parse_change
from wsi_idc.report.live import LiveResults
from wsi_idc.report.page import page_policy

if TYPE_CHECKING:
    from starlette.types import ASGIApp, Message, Receive, Scope, Send

HOST = "127.0.0.1"

TILE_THREADS = 4
"""Tiles that are decoded at once; each thread has a handle of its own of each open slide."""

LONGEST_BODY = 4_000_000
"""Bytes of a request: a stroke over 50,000 patches."""

_LOCAL_HOST = re.compile(r"(127\.0\.0\.1|localhost|\[::1\])(:\d{1,5})?", re.ASCII | re.IGNORECASE)
"""What a browser on this machine, or at the near end of a tunnel, calls this server."""

_PART = re.compile(
    r"/(?P<url>.+?)/(?:"
    r"tiles/(?P<version>[0-9a-f]{16})/(?P<depth>\d{1,2})/(?P<column>\d{1,6})_(?P<row>\d{1,6})\.jpg"
    r"|(?P<what>report\.js|slide\.json|beside\.json|corrections|corrections/undo)"
    r"|(?P<file>[^/]+))",
    re.ASCII,
)
"""Path of what belongs to a slide, whose relative URL is compared as it was sent, percent-encoded."""

_TYPES = {
    ".png": "image/png",
    ".pdf": "application/pdf",
    ".csv": "text/csv; charset=utf-8",
    ".json": "application/json",
}

_HEADERS = {
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Cross-Origin-Opener-Policy": "same-origin",
}

_REFUSED = "Open the address that wsi-idc view has printed: it holds the key to these results.\n"


class Guard:
    """Refuses whoever does not have the key, other hosts' names, and requests that another site's page makes.

    Parameters
    ----------
    app : ASGI application
    token : str
        The key: in the address that is opened first, then in a cookie that no script can read.
    once : str
        A key that is good for one visit; none where empty.
    """

    def __init__(self, app: ASGIApp, token: str, once: str = "") -> None:
        self._app, self._token, self._once = app, token, once
        # Cookies are the host's, whatever the port: another server's must not stand in the way of this one's.
        self.cookie = f"wsi-idc-{hashlib.sha256(token.encode()).hexdigest()[:8]}"

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        request = Request(scope)
        if not _is_own(request):
            await _with_headers(PlainTextResponse(_REFUSED, 403), send)(scope, receive)
            return
        named = request.query_params.get("token", "") if request.url.path == "/" else ""
        fresh = bool(named) and self._admits(named)
        if not fresh and not _same(request.cookies.get(self.cookie, ""), self._token):
            await _with_headers(PlainTextResponse(_REFUSED, 403), send)(scope, receive)
            return

        async def answer(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                _add_headers(headers)
                if fresh:
                    headers.append("Set-Cookie", f"{self.cookie}={self._token}; Path=/; HttpOnly; SameSite=Strict")
            await send(message)

        await self._app(scope, receive, answer)

    def _admits(self, named: str) -> bool:
        if self._once and _same(named, self._once):
            self._once = ""
            return True
        return _same(named, self._token)


def _same(given: str, key: str) -> bool:
    """Compare in a time that does not depend on how much is right."""
    return secrets.compare_digest(given.encode("utf-8", "replace"), key.encode())


def _is_own(request: Request) -> bool:
    """Whether a request is to this machine by its name, and made by no page of another origin."""
    host = request.headers.get("host", "")
    if not _LOCAL_HOST.fullmatch(host):
        return False
    origin = request.headers.get("origin")
    if origin is not None and origin.lower() != f"http://{host}".lower():
        return False
    # Other ports of this machine are the same site, but not the same origin: their pages may lead here, and no more.
    site = request.headers.get("sec-fetch-site", "none")
    visits = request.method == "GET" and request.url.path == "/" and request.headers.get("sec-fetch-mode") == "navigate"
    return site in ("same-origin", "none") or visits


def _add_headers(headers: MutableHeaders) -> None:
    for name, value in _HEADERS.items():
        headers[name] = value
    headers.setdefault("Content-Security-Policy", "default-src 'none'; frame-ancestors 'none'")
    headers.setdefault("Cache-Control", "no-store")


def _with_headers(response: Response, send: Send) -> Callable[[Scope, Receive], Awaitable[None]]:
    _add_headers(response.headers)

    async def answer(scope: Scope, receive: Receive) -> None:
        await response(scope, receive, send)

    return answer


class _Pages:
    """What is answered to those who are let in."""

    def __init__(self, results: LiveResults) -> None:
        self._results = results
        self._turn = asyncio.Semaphore(TILE_THREADS)
        # Threads of their own: those of the framework are many, and each would hold handles.
        self._threads = ThreadPoolExecutor(TILE_THREADS, thread_name_prefix="tile")

    async def page(self, request: Request) -> Response:
        """The page over all slides."""
        text = await run_in_threadpool(self._results.page)
        policy = f"{page_policy(live=True)}; frame-ancestors 'none'"
        return Response(text, media_type="text/html", headers={"Content-Security-Policy": policy})

    async def of_slide(self, request: Request) -> Response:
        """What belongs to one slide."""
        match = _PART.fullmatch(request.scope["raw_path"].decode("latin-1"))
        if match is None or not self._results.knows(match["url"]):
            return _missing()
        url, what = match["url"], match["what"] or ""
        changes = what.startswith("corrections") and request.method == "POST"
        if request.method == "POST" and not changes:
            return PlainTextResponse("", 405, {"Allow": "GET, HEAD"})
        try:
            if match["version"]:
                numbers = (int(match[name]) for name in ("depth", "column", "row"))
                return await self._tile(request, url, match["version"], *numbers)
            if changes:
                return await self._change(request, url, what)
            return await run_in_threadpool(self._read, url, what, match["file"] or "")
        except OptionError as error:
            return _error(400, error)
        except WsiIdcError as error:
            return _error(409, error)
        except OSError as error:
            return _error(507, f"it could not be saved or read: {error.strerror or error}.")

    async def _tile(self, request: Request, url: str, version: str, depth: int, column: int, row: int) -> Response:
        async with self._turn:
            # A view that moved on has no use for tiles that it still waited for.
            if await request.is_disconnected():
                return Response(status_code=204)
            loop = asyncio.get_running_loop()
            tile = await loop.run_in_executor(self._threads, self._results.tile, url, version, depth, column, row)
        if tile is None:
            return _missing()
        headers = {"Cache-Control": "private, max-age=86400, immutable"}
        return Response(tile, media_type="image/jpeg", headers=headers)

    def _read(self, url: str, what: str, file: str) -> Response:
        if what == "report.js":
            script = self._results.script(url)
            return _missing() if script is None else Response(script, media_type="text/javascript")
        if what == "slide.json":
            return _found(self._results.info(url))
        if what == "beside.json":
            patches = self._results.beside(url)
            return _missing() if patches is None else Response(patches, media_type="application/json")
        if what == "corrections":
            return _found(self._results.corrections(url))
        path = self._results.file(url, file)
        if path is None:
            return _missing()
        return FileResponse(path, media_type=_TYPES.get(path.suffix, "application/octet-stream"))

    async def _change(self, request: Request, url: str, what: str) -> Response:
        if request.headers.get("content-type", "").split(";")[0] != "application/json":
            raise OptionError("A correction is sent as JSON: reload the page.")
        asked = await _body(request)
        if what == "corrections/undo":
            return _found(await run_in_threadpool(self._results.undo, url))
        return _found(await run_in_threadpool(self._results.change, url, parse_change(asked)))


async def _body(request: Request) -> Any:
    """A request's JSON; OptionError where it is none, or too long."""
    content = bytearray()
    async for chunk in request.stream():
        content += chunk
        if len(content) > LONGEST_BODY:
            raise OptionError("That is too much at once: correct fewer patches in one stroke.")
    try:
        return json.loads(content)
    except (ValueError, RecursionError) as error:
        raise OptionError("A correction is sent as JSON: reload the page.") from error


def _missing() -> Response:
    return PlainTextResponse("There is no such thing here.\n", 404)


def _error(status: int, error: WsiIdcError | str) -> Response:
    return JSONResponse({"error": str(error)}, status)


def _found(value: dict[str, Any] | None) -> Response:
    return _missing() if value is None else JSONResponse(value)


def make_app(results: LiveResults, token: str, once: str = "") -> Starlette:
    """The application that serves a results folder.

    Parameters
    ----------
    results : LiveResults
    token : str
        The key that the address opened first has as ``?token=``.
    once : str
        Another key, for one visit.
    """
    pages = _Pages(results)
    routes = [
        Route("/", pages.page, methods=["GET"]),
        Route("/{rest:path}", pages.of_slide, methods=["GET", "POST"]),
    ]
    return Starlette(routes=routes, middleware=[Middleware(Guard, token=token, once=once)])


def new_token() -> str:
    """A key that nobody can guess."""
    return secrets.token_urlsafe(32)


@contextmanager
def serving(app: Starlette, port: int = 0) -> Iterator[tuple[str, threading.Thread]]:
    """Serve an application on this machine while the block runs.

    Parameters
    ----------
    app : Starlette
    port : int
        0 takes a free one.

    Yields
    ------
    address : str
        ``http://127.0.0.1:PORT/``
    thread : Thread
        Ends when the server does.

    Raises
    ------
    OptionError
        Where the port is taken or not allowed.
    """
    import uvicorn

    listener = _listen(port)
    config = uvicorn.Config(
        app,
        lifespan="off",
        ws="none",
        log_config=None,
        access_log=False,
        # Nothing stands between the browser and this server that could say who asks.
        proxy_headers=False,
        server_header=False,
        timeout_graceful_shutdown=2,
    )
    server = uvicorn.Server(config)
    # In a thread of its own it leaves Ctrl-C to the command.
    thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]}, name="server", daemon=True)
    thread.start()
    try:
        # Connections wait in the listener until the server takes them.
        yield f"http://{HOST}:{listener.getsockname()[1]}/", thread
    finally:
        server.should_exit = True
        thread.join(10)
        # One that is slow to end still needs it, and closes it then.
        if not thread.is_alive():
            listener.close()


def _listen(port: int) -> socket.socket:
    # Where the protocol is not named, asyncio leaves Nagle's algorithm on, and every answer takes 40 ms longer.
    listener = socket.socket(socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    if os.name != "nt":
        # On Windows this would let another program take the port as well.
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind((HOST, port))
        listener.listen(128)
    except OSError as error:
        listener.close()
        raise OptionError(f"Port {port} cannot be used ({error.strerror}): name another with --port.") from error
    return listener
