"""A proxy that breaks what it carries."""

from __future__ import annotations

import http.client
from collections import Counter
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from time import sleep
from typing import Any


class Faulty(ThreadingHTTPServer):
    """Hands requests on to a server; what a path is named after goes wrong with it. Where it is `full`, so does all
    that is sent."""

    daemon_threads = True

    def __init__(self, port: int) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.behind, self.seen = port, Counter[str]()
        self.full = False


class _Handler(BaseHTTPRequestHandler):
    server: Faulty
    protocol_version = "HTTP/1.1"  # whoever uploads waits to be told to go on, which older ones do not say

    def _answer(self) -> None:
        path = self.path.partition("?")[0]
        sent = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        if self.command == "PUT":
            self.server.seen[f"PUT {path}"] += 1
            if self.server.full or ("busy" in path and self.server.seen[f"PUT {path}"] < 3):
                return self._say(503, b"")
            if "cut" in path and self.server.seen[f"PUT {path}"] == 1:
                self.close_connection = True
                return None
        if self.command == "GET" and ".tif" in path:
            self.server.seen[path] += 1
        first = self.server.seen[path] == 1
        if "slow" in path:
            sleep(0.3)
        if "forbidden" in path:
            return self._say(403, b"")
        if "down" in path or ("busy" in path and self.command == "GET" and self.server.seen[path] < 3):
            return self._say(503, b"")
        behind = http.client.HTTPConnection("127.0.0.1", self.server.behind)
        kept = {name: value for name, value in self.headers.items() if name.lower() != "expect"}
        behind.request(self.command, self.path, sent, kept)
        answer = behind.getresponse()
        body = answer.read()
        kept = {name: value for name, value in answer.getheaders() if name.lower() not in ("connection", "date")}
        if self.command == "GET" and first and "short" in path:
            body, kept = body[:-9], {name: value for name, value in kept.items() if name.lower() != "content-length"}
        self._say(answer.status, body, kept, cut=self.command == "GET" and first and "cut" in path)
        return None

    def _say(self, status: int, body: bytes, headers: dict[str, str] | None = None, cut: bool = False) -> None:
        self.send_response(status)
        for name, value in (headers or {}).items():
            self.send_header(name, value)
        if not any(name.lower() == "content-length" for name in headers or {}):
            self.send_header("Content-Length", str(len(body)))
        self.send_header("Connection", "close")
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body[: len(body) // 2] if cut else body)
        self.close_connection = True

    do_GET = do_HEAD = do_PUT = do_POST = do_DELETE = _answer  # noqa: N815

    def log_message(self, *args: Any) -> None:
        pass
