"""A proxy on loopback, in front of an S3 service, that breaks requests as it is told."""

from __future__ import annotations

import http.client
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Literal
from urllib.parse import urlsplit

Fault = Literal["500", "503", "403", "slow", "cut upload", "cut download"]
SLOW_S = 0.3
_TOLD = {"500": "InternalError", "503": "SlowDown", "403": "AccessDenied"}
_PER_HOP = {"connection", "transfer-encoding", "expect", "host", "date", "server"}

Plan = Callable[[int, str, str], "Fault | None"]  # request number, method, path -> fault


class FaultyProxy:
    """Its `url` stands for the service's; `done` counts the faults that were made."""

    def __init__(self, upstream: str, plan: Plan) -> None:
        self.plan, self.done, self.requests = plan, Counter[str](), 0
        self.lock = threading.Lock()
        address, proxy = urlsplit(upstream).netloc, self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"
            timeout = 30

            def handle_one(self) -> None:
                with proxy.lock:
                    number, proxy.requests = proxy.requests, proxy.requests + 1
                    fault = proxy.plan(number, self.command, self.path)
                    if fault is not None:
                        proxy.done[fault] += 1
                length = int(self.headers.get("Content-Length", 0))
                if fault == "cut upload":
                    self.rfile.read(length // 2)
                    return self.hang_up()
                body = self.rfile.read(length)
                if fault in _TOLD:
                    return self.refuse(int(fault))
                if fault == "slow":
                    time.sleep(SLOW_S)
                headers = {k: v for k, v in self.headers.items() if k.lower() not in _PER_HOP}
                upstream = http.client.HTTPConnection(address, timeout=30)
                try:
                    upstream.request(self.command, self.path, body=body, headers=headers)
                    answer = upstream.getresponse()
                    data = answer.read()
                finally:
                    upstream.close()
                self.send_response(answer.status)
                for key, value in answer.getheaders():
                    if key.lower() not in {*_PER_HOP, "content-length"}:
                        self.send_header(key, value)
                size = answer.getheader("Content-Length") if self.command == "HEAD" else None
                self.send_header("Content-Length", size or str(len(data)))
                self.end_headers()
                if fault == "cut download":
                    self.wfile.write(data[: len(data) // 2])
                    return self.hang_up()
                self.wfile.write(data)
                return None

            do_GET = do_PUT = do_POST = do_DELETE = do_HEAD = handle_one  # noqa: N815

            def refuse(self, status: int) -> None:
                data = f"<Error><Code>{_TOLD[str(status)]}</Code><Message>no</Message></Error>"
                self.send_response(status)
                self.send_header("Content-Type", "application/xml")
                self.send_header("Content-Length", str(len(data)))
                self.end_headers()
                if self.command != "HEAD":
                    self.wfile.write(data.encode())

            def hang_up(self) -> None:
                self.wfile.flush()
                self.close_connection = True

            def log_message(self, *arguments: object) -> None:
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.server.daemon_threads = True
        self.url = f"http://127.0.0.1:{self.server.server_address[1]}"


@contextmanager
def faulty(upstream: str, plan: Plan) -> Iterator[FaultyProxy]:
    proxy = FaultyProxy(upstream, plan)
    thread = threading.Thread(target=proxy.server.serve_forever, args=(0.05,), daemon=True)
    thread.start()
    try:
        yield proxy
    finally:
        proxy.server.shutdown()
        proxy.server.server_close()
        thread.join()
