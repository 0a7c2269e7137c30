"""What an Argilla server of 2.8 answers to the client, by the schemas of its API.

No server is run here: it needs Elasticsearch and Redis. What is sent is kept and comes back, as the
server's own JSON has it; what readers answer is put in by the test.
"""

from __future__ import annotations

import json
import uuid
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread
from typing import Any
from urllib.parse import parse_qs, urlsplit

NOW = "2026-11-30T10:00:00.000000"  # without a zone, as the server writes UTC
KEY = "owner.key"


def _id() -> str:
    return str(uuid.uuid4())


class ArgillaServer:
    """`url` is where it answers; `asked` are methods and paths, in their order."""

    def __init__(self, port: int) -> None:
        self.url = f"http://127.0.0.1:{port}"
        self.asked: list[tuple[str, str]] = []
        self.users = {_id(): "owner"}
        self.hidden: set[str] = set()  # users whose name the key may not ask for
        self.workspace = self._resource(name="team")
        self.datasets: dict[str, dict[str, Any]] = {}
        self.parts: dict[
            tuple[str, str], list[dict[str, Any]]
        ] = {}  # of a data set: its records, …

    @staticmethod
    def _resource(**told: Any) -> dict[str, Any]:
        return {"id": _id(), "inserted_at": NOW, "updated_at": NOW, **told}

    def records(self, name: str) -> list[dict[str, Any]]:
        (found,) = (d["id"] for d in self.datasets.values() if d["name"] == name)
        return self.parts[found, "records"]

    def answer_record(
        self,
        name: str,
        sample_id: str,
        who: str | None,
        status: str,
        answers: Mapping[str, str] | None,
        *,
        at: str = NOW,
    ) -> None:
        """As the reader's submission in the UI does."""
        if who is not None and who not in self.users.values():
            self.users[_id()] = who
        user = next((user for user, name in self.users.items() if name == who), None)
        (record,) = (r for r in self.records(name) if r["external_id"] == sample_id)
        values = None if answers is None else {q: {"value": v} for q, v in answers.items()}
        left = [response for response in record["responses"] if response["user_id"] != user]
        record["responses"] = [
            *left,
            self._resource(
                record_id=record["id"], user_id=user, status=status, values=values, updated_at=at
            ),
        ]

    def reply(self, method: str, path: str, query: Mapping[str, list[str]], body: Any) -> Any:
        """The JSON, or None where there is nothing."""
        match method, path.removeprefix("/api/v1/").split("/"):
            case "GET", ["me"]:
                (owner, *_) = self.users
                return self._resource(id=owner, username="owner", role="owner")
            case "GET", ["users", user] if user not in self.hidden:
                return self._resource(id=user, username=self.users[user], role="annotator")
            case "GET", ["me", "workspaces"]:
                return {"items": [self.workspace]}
            case "GET", ["workspaces", _]:
                return self.workspace
            case "GET", ["me", "datasets"]:
                return {"items": list(self.datasets.values())}
            case "POST", ["datasets"]:
                made = self._resource(status="draft", **body)
                self.datasets[made["id"]] = made
                return made
            case "GET", ["datasets", dataset]:
                return self.datasets.get(dataset)
            case "PATCH", ["datasets", dataset]:
                self.datasets[dataset] |= {k: v for k, v in body.items() if k != "id"}
                return self.datasets[dataset]
            case "PUT", ["datasets", dataset, "publish"]:
                self.datasets[dataset]["status"] = "ready"
                return self.datasets[dataset]
            case "GET", ["datasets", dataset, "records"]:
                start, limit = int(query["offset"][0]), int(query["limit"][0])
                found = self.parts.get((dataset, "records"), [])
                return {"items": found[start : start + limit]}
            case "GET", (["me", "datasets", dataset, part] | ["datasets", dataset, part]):
                return {"items": self.parts.get((dataset, part), [])}
            case "POST", ["datasets", dataset, part]:
                own = {k: v for k, v in body.items() if v is not None and k != "id"}
                made = self._resource(**{**own, "dataset_id": dataset})
                self.parts.setdefault((dataset, part), []).append(made)
                return made
            case "PUT", ["datasets", dataset, "records", "bulk"]:
                items = [
                    self._resource(
                        **{k: item[k] for k in ("fields", "metadata", "external_id")},
                        dataset_id=dataset, status="pending", responses=[], suggestions=[],
                    )
                    for item in body["items"]
                ]  # fmt: skip
                self.parts.setdefault((dataset, "records"), []).extend(items)
                return {"items": items, "updated_item_ids": []}
        return None


@contextmanager
def argilla_server() -> Iterator[ArgillaServer]:
    class Handler(BaseHTTPRequestHandler):
        def _answer(self) -> None:
            asked = urlsplit(self.path)
            length = int(self.headers.get("Content-Length") or 0)
            body = json.loads(self.rfile.read(length)) if length else None
            server.asked.append((self.command, asked.path))
            if self.headers.get("X-Argilla-Api-Key") != KEY:
                status, reply = 401, {"detail": "Unauthorized"}
            else:
                found = server.reply(self.command, asked.path, parse_qs(asked.query), body)
                status, reply = (404, {"detail": "Not found"}) if found is None else (200, found)
            data = json.dumps(reply).encode()
            self.send_response(status)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(data)))
            self.end_headers()
            self.wfile.write(data)

        do_GET = do_POST = do_PUT = do_PATCH = _answer  # noqa: N815

        def log_message(self, *_: object) -> None:
            """Not into the tests' output."""

    listening = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    listening.daemon_threads = True
    server = ArgillaServer(listening.server_port)
    thread = Thread(target=listening.serve_forever, daemon=True)
    thread.start()
    try:
        yield server
    finally:
        listening.shutdown()
        listening.server_close()
        thread.join()
