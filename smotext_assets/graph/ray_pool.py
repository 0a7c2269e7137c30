"""Workers on Ray that hold a generator each and take batches: `Pool`, and what runs in a worker.

A batch whose worker or node dies runs again on another; one under which workers die again and again
fails alone. Nothing here decides what a batch is, or reads the environment.
"""

import hashlib
import queue
import socket
import threading
import time
from collections.abc import Callable
from concurrent.futures import Future
from dataclasses import dataclass, field
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import smotext_core

AHEAD = 2  # batches a worker holds: one it works on, one that is next
ATTEMPTS = 4  # of a batch, before it is taken for the cause of its workers' deaths
START_S = 600.0  # a worker may first have to load gigabytes
HEAD_GONE_S = 10.0  # Ray ends this process itself when its head is away for a minute


@cache
def software() -> dict[str, str]:
    """What decides the bytes: smotext by the sha256 of its sources, and what it counts with."""
    digest = hashlib.sha256()
    core = Path(smotext_core.__file__).parent
    for folder in (core, core.parent / "smotext_assets"):
        for path in sorted(folder.rglob("*.py")):
            digest.update(path.relative_to(core.parent).as_posix().encode() + path.read_bytes())
    found = {"smotext": digest.hexdigest()[:16]}
    for name in ("numpy", "torch", "transformers"):
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            found[name] = "not installed"
    return found


class Worker:
    """In a process of its own on some node: a generator, loaded once."""

    def __init__(self) -> None:
        self._loaded: dict[str, Any] = {}

    def software(self) -> dict[str, str]:
        return software()

    def work(self, key: str, load: Callable[[], Any], do: Callable[..., Any], item: Any) -> Any:
        """`do(generator, item, progress)` and the rows of which it told `progress`."""
        if key not in self._loaded:
            self._loaded = {key: load()}
        rows: list[int] = []
        return do(self._loaded[key], item, rows.append), sum(rows)


@dataclass(eq=False)
class _Actor:
    number: int
    handle: Any
    started: Any = None  # what it answers of its software; None once it was compared
    since: float = 0.0
    tasks: list["_Task"] = field(default_factory=list)  # in the order in which it takes them


@dataclass(eq=False)
class _Task:
    call: tuple[str, Callable[[], Any], Callable[..., Any], Any]
    result: "Future[tuple[Any, int, str]]"  # what came, rows, and the worker's name
    deaths: int = 0
    ref: Any = None


class Pool:
    """`workers` Ray actors; at most `AHEAD` batches for each are under way or wait."""

    def __init__(
        self, address: str | None, *, workers: int, num_cpus: float, num_gpus: float
    ) -> None:
        """`workers` 0: as many as the cluster has room for; `address` None: a cluster of this host.

        Raises:
            ImportError: Ray is not installed.
            ConnectionError: nobody answers at the address.
            ValueError: the cluster is smaller than asked, or runs another smotext.
        """
        try:
            import ray
        except ImportError:
            raise ImportError(
                "SMOTEXT_ENGINE=ray needs Ray, which is not installed: pip install 'smotext[ray]', "
                "or set SMOTEXT_ENGINE=local"
            ) from None
        self._ray: Any = ray
        self._owned = not ray.is_initialized()
        self._head = _answering(address) if address else None
        if self._owned:
            options: dict[str, Any] = {} if address else {"include_dashboard": False}
            try:
                ray.init(address=address or "local", log_to_driver=False, **options)
            except (ConnectionError, RuntimeError, TimeoutError) as error:
                raise ConnectionError(
                    f"the Ray cluster at {address} answers, but not as one of Ray "
                    f"{ray.__version__} on this Python: {error}"
                ) from error
        try:
            self.workers = self._room(workers, num_cpus=num_cpus, num_gpus=num_gpus)
            self._new = ray.remote(
                num_cpus=num_cpus, num_gpus=num_gpus, scheduling_strategy="SPREAD"
            )(Worker)
            self._actors = [self._start(_Actor(number, None)) for number in range(self.workers)]
            for actor in self._actors:
                self._compare(actor)
        except BaseException:
            self._shut_down()
            raise
        self._places = threading.BoundedSemaphore(AHEAD * self.workers)
        self._asked: queue.SimpleQueue[_Task] = queue.SimpleQueue()
        self._closed = threading.Event()
        self._broken: Exception | None = None
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def submit(
        self, key: str, load: Callable[[], Any], do: Callable[..., Any], item: Any
    ) -> "Future[tuple[Any, int, str]]":
        """Hand out a batch; waits while as many are under way as the pool takes.

        The future raises what `do` raised, or RuntimeError where the pool or the batch is lost.
        """
        self._places.acquire()
        task = _Task((key, load, do, item), Future())
        task.result.add_done_callback(lambda _: self._places.release())
        if self._broken is not None:
            task.result.set_exception(self._broken)
        else:
            self._asked.put(task)
        return task.result

    def close(self) -> None:
        """End the workers; what is under way fails."""
        self._closed.set()
        self._thread.join()

    def _room(self, asked: int, *, num_cpus: float, num_gpus: float) -> int:
        has = self._ray.cluster_resources()
        fits = [
            int(has.get(kind, 0) / each)
            for kind, each in (("CPU", num_cpus), ("GPU", num_gpus))
            if each
        ]
        most = min(fits) if fits else asked
        if most < max(asked, 1):
            raise ValueError(
                f"{max(asked, 1)} workers of {num_cpus:g} CPUs and {num_gpus:g} GPUs were asked "
                f"for, the Ray cluster has {has.get('CPU', 0):g} CPUs and {has.get('GPU', 0):g} "
                "GPUs: lower SMOTEXT_WORKERS, or start more nodes first"
            )
        return asked or most

    def _start(self, actor: _Actor) -> _Actor:
        """A process for `actor`; where the cluster has no room for it now, it starts later."""
        actor.handle = self._new.remote()
        actor.started, actor.since = actor.handle.software.remote(), time.monotonic()
        return actor

    def _compare(self, actor: _Actor) -> None:
        """Raises: ValueError: a worker has other software than this process, or does not start."""
        try:
            found = self._ray.get(actor.started, timeout=START_S)
        except self._ray.exceptions.RayError as error:
            raise ValueError(f"worker {actor.number} did not start: {error}") from error
        if found != software():
            raise ValueError(
                f"worker {actor.number} runs {found}, this process {software()}: their bytes "
                "may differ; start the Ray cluster from the same image"
            )
        actor.started = None

    def _admit(self) -> None:
        """Compare the workers that have started again since one died.

        Raises:
            TimeoutError: batches wait, and for `START_S` there was room for no worker.
        """
        starting = [actor for actor in self._actors if actor.started is not None]
        for actor in starting:
            if not self._ray.wait([actor.started], timeout=0)[0]:
                continue
            try:
                self._compare(actor)
            except ValueError as error:
                if isinstance(error.__cause__, self._ray.exceptions.RayActorError):
                    since = actor.since
                    self._start(actor).since = since  # its node is gone too
                else:
                    raise
        if len(starting) == len(self._actors):
            waited = time.monotonic() - max(actor.since for actor in starting)
            if waited > START_S:
                raise TimeoutError(f"no worker found room in {waited:.0f} s")

    def _run(self) -> None:
        waiting: list[_Task] = []
        seen = time.monotonic()
        try:
            while not self._closed.is_set():
                idle = not waiting and not any(actor.tasks for actor in self._actors)
                try:
                    waiting.append(self._asked.get(timeout=0.2 if idle else 0.001))
                    continue  # take all that is there
                except queue.Empty:
                    pass
                self._admit()
                self._hand_out(waiting)
                under_way = {t.ref: (a, t) for a in self._actors for t in a.tasks}
                if under_way:
                    ready, _ = self._ray.wait(list(under_way), timeout=0.05)
                    for ref in ready:
                        actor, task = under_way[ref]
                        if task in actor.tasks:  # else its worker is known to be dead
                            waiting = self._take(actor, task) + waiting
                if self._head and time.monotonic() - seen > HEAD_GONE_S / 2:
                    _answering(*self._head)
                    seen = time.monotonic()
        except Exception as error:
            self._broken = RuntimeError(
                f"the Ray cluster is lost ({error}); finished batches are kept: start it and run "
                "the same again"
            )
        else:
            self._broken = RuntimeError("the run ended before its batches")
        self._actors, lost = [], [t for a in self._actors for t in a.tasks]
        self._shut_down()
        while not self._closed.is_set() or not self._asked.empty() or lost or waiting:
            for task in [*lost, *waiting]:
                task.result.set_exception(self._broken)
            lost, waiting = [], []
            try:
                waiting.append(self._asked.get(timeout=0.05))
            except queue.Empty:
                continue

    def _hand_out(self, waiting: list[_Task]) -> None:
        while waiting:
            ready = [actor for actor in self._actors if actor.started is None]
            actor = min(ready, key=lambda actor: len(actor.tasks), default=None)
            if actor is None or len(actor.tasks) >= AHEAD:
                return
            task = waiting.pop(0)
            task.ref = actor.handle.work.remote(*task.call)
            actor.tasks.append(task)

    def _take(self, actor: _Actor, task: _Task) -> list[_Task]:
        """Pass on what came; of a dead worker return the batches that are to run again."""
        exceptions = self._ray.exceptions
        try:
            result, rows = self._ray.get(task.ref)
            actor.tasks.remove(task)
            task.result.set_result((result, rows, f"worker {actor.number}"))
        except (exceptions.RayActorError, exceptions.ObjectLostError):
            again, actor.tasks = actor.tasks, []
            self._ray.kill(actor.handle)
            self._start(actor)
            again[0].deaths += 1  # the one it was at; the others only waited
            if again[0].deaths < ATTEMPTS:
                return again
            again.pop(0).result.set_exception(
                RuntimeError(
                    f"{ATTEMPTS} workers died at this batch, the last was worker {actor.number}: "
                    "it may need more memory than they have"
                )
            )
            return again
        except exceptions.RayTaskError as error:
            actor.tasks.remove(task)
            task.result.set_exception(error.cause if error.cause is not None else error)
        return []

    def _shut_down(self) -> None:
        if self._owned:
            self._ray.shutdown()
            return
        for actor in self._actors:
            self._ray.kill(actor.handle)


def _answering(address: str, port: int = 0) -> tuple[str, int] | None:
    """Host and port of a Ray address, of which something listens there; None of "auto".

    Raises:
        ConnectionError: nobody does.
    """
    if address in ("auto", "local"):
        return None
    host, _, named = address.removeprefix("ray://").rpartition(":") if not port else (address, 0, 0)
    told = f"{address}:{port}" if port else address
    try:
        port = port or int(named)
        socket.create_connection((host, port), timeout=HEAD_GONE_S).close()
    except (OSError, ValueError) as error:
        raise ConnectionError(
            f"no Ray cluster answers at {told}: {error}; RAY_ADDRESS must be "
            "ray://HOST:10001 or HOST:6379 of one that runs, or not set for one on this machine"
        ) from None
    return host, port
