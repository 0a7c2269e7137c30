"""Where costly batches are made: in this process, or by workers on Ray."""

import threading
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Literal, TypeVar

import dagster as dg
import polars as pl
from pydantic import Field, PrivateAttr

from smotext_assets.graph.ray_pool import AHEAD, Pool

if TYPE_CHECKING:
    from smotext_core.xrag import Generator

Item = TypeVar("Item")
Work = Callable[["Generator", Item, Callable[[int], None]], pl.DataFrame]


class Engine(dg.ConfigurableResource["Engine"]):
    """Makes batches of rows; the bytes do not depend on which engine, or on how many workers."""

    engine: Literal["local", "ray"] = Field(
        default="local", description="local: this process. ray: workers, from smotext[ray]."
    )
    address: str | None = Field(
        default=None, description="Of a Ray cluster; null: one is started on this machine."
    )
    workers: int = Field(default=0, ge=0, description="0: as many as the cluster has room for.")
    num_cpus: float = Field(default=1, gt=0, description="Of each worker.")
    num_gpus: float = Field(default=0, ge=0, description="Of each worker.")

    _pool: Pool | None = PrivateAttr(default=None)
    _turn: Any = PrivateAttr(default=None)

    @contextmanager
    def yield_for_execution(self, context: dg.InitResourceContext) -> Iterator["Engine"]:
        try:
            yield self
        finally:
            if self._pool is not None:
                self._pool.close()
                self._pool = None

    def each(self, make: Callable[[str], None], keys: Sequence[str]) -> None:
        """Call `make` for every key: one after another here; with workers the next begins once the
        one before has handed out its batches, so that small partitions fill the workers together.

        Raises:
            ImportError, ConnectionError, ValueError: as `Pool`, before anything is made.
        """
        if self.engine == "local":
            for key in keys:
                make(key)
            return
        pool = self._started()
        free, self._turn = threading.Semaphore(1), threading.local()

        def one(key: str) -> None:
            self._turn.pass_on = free.release
            try:
                make(key)
            finally:
                self._pass_on()

        with ThreadPoolExecutor(AHEAD * pool.workers) as threads:
            made = []
            try:
                for key in keys:
                    free.acquire()
                    made.append(threads.submit(one, key))
                for done in made:
                    done.result()
            except BaseException:  # an interrupt: those under way must not be waited for
                pool.close()
                self._pool = None
                raise

    def map(
        self,
        key: str,
        load: Callable[[], "Generator"],
        work: Work[Item],
        items: Iterable[Item],
        *,
        progress: Callable[[int], None],
        tally: Counter[str],
        more: bool = False,
    ) -> Iterator[tuple[int, pl.DataFrame]]:
        """`work(generator, item, progress)` of every item, with its number, as each is finished.

        Args:
            key: of the generator that `load` returns; `load` and `work` go to the workers.
            tally: gets the batches that each worker made.
            more: the partition has other batches to make after these.

        Raises:
            RuntimeError: the cluster is lost, or this batch kills its workers.
        """
        if self.engine == "local":
            generator = None
            for number, item in enumerate(items):
                generator = load() if generator is None else generator
                frame = work(generator, item, progress)
                tally["this process"] += 1
                yield number, frame
            return
        pool = self._started()
        under_way: dict[Future[Any], int] = {}
        most = AHEAD * pool.workers
        for number, item in enumerate(items):
            if len(under_way) >= most:
                yield from _finished(under_way, progress, tally)
            under_way[pool.submit(key, load, work, item)] = number
        if not more:
            self._pass_on()
        while under_way:
            yield from _finished(under_way, progress, tally)

    def _pass_on(self) -> None:
        """Let the next partition begin, once."""
        release = getattr(self._turn, "pass_on", None)
        if release is not None:
            self._turn.pass_on = None
            release()

    def _started(self) -> Pool:
        if self._pool is None:
            self._pool = Pool(
                self.address,
                workers=self.workers,
                num_cpus=self.num_cpus,
                num_gpus=self.num_gpus,
            )
        return self._pool


def told(tally: Counter[str]) -> dict[str, object]:
    """Metadata: how many workers made a partition, and the batches of each."""
    batches = dict(sorted(tally.items()))
    return {"workers": len(batches), "batches_by_worker": dg.MetadataValue.json(batches)}


def _finished(
    under_way: dict[Future[Any], int], progress: Callable[[int], None], tally: Counter[str]
) -> Iterator[tuple[int, pl.DataFrame]]:
    """Of the batches under way those that are finished; waits for one."""
    done, _ = wait(under_way, return_when=FIRST_COMPLETED)
    for future in sorted(done, key=lambda future: under_way[future]):
        frame, rows, worker = future.result()
        number = under_way.pop(future)
        progress(rows)
        tally[worker] += 1
        yield number, frame
