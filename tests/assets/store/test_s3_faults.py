"""The store in a bucket that throttles, fails, is slow, or hangs up in the middle."""

import re
import uuid
from typing import Any

import polars as pl
import pytest

from smotext_assets.graph.resources import StoreResource
from smotext_assets.store.tables import Store
from tests.assets.conftest import BY_LABEL_AND_RUN, Home
from tests.conftest import S3_BUCKET
from tests.faults import Fault, FaultyProxy, Plan, faulty

RARE = {"label": "rare", "run": "r1"}
FRAME = pl.DataFrame({"text": [f"text {n}" for n in range(500)]})
OTHER = FRAME.reverse()


@pytest.fixture(autouse=True)
def at_once(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """Pauses before another attempt are noted, not slept."""
    pauses: list[float] = []

    class Clock:
        def __getattr__(self, name: str) -> Any:
            import time

            return getattr(time, name)

        def sleep(self, seconds: float) -> None:
            pauses.append(seconds)

    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.setenv(name, "test")
    monkeypatch.setattr("smotext_assets.store.bucket.time", Clock())
    monkeypatch.setattr("botocore.endpoint.time", Clock())
    return pauses


def through(proxy: FaultyProxy, root: str) -> Store:
    """As the graph opens it."""
    return StoreResource(root=root, endpoint_url=proxy.url, region_name="us-east-1").open()


def first(times: int, fault: Fault, method: str) -> Plan:
    """The first `times` requests of this method fail."""
    left = [times]

    def plan(number: int, asked: str, path: str) -> Fault | None:
        if asked != method or not left[0]:
            return None
        left[0] -= 1
        return fault

    return plan


@pytest.mark.parametrize(
    ("fault", "method"),
    [
        *[(fault, method) for fault in ("500", "503", "slow") for method in ("GET", "PUT")],
        ("cut upload", "PUT"),
        ("cut download", "GET"),
    ],
)
def test_store_outlives_a_fault(
    s3_store: Store, s3_endpoint: str, fault: Fault, method: str, at_once: list[float]
) -> None:
    s3_store.write("t", OTHER, RARE)
    with faulty(s3_endpoint, first(3, fault, method)) as proxy:
        store = through(proxy, s3_store.root)
        if method == "PUT":
            store.write("t", FRAME, RARE)
            assert s3_store.read("t", RARE).equals(FRAME)
        else:
            assert store.read("t", RARE).equals(OTHER)
            assert store.partitions("t") == [RARE]
    assert proxy.done[fault] == 3
    if fault != "slow":
        assert len(at_once) >= 3  # a pause before each further attempt


def test_throttled_requests_wait_longer_each_time(
    s3_store: Store, s3_endpoint: str, at_once: list[float]
) -> None:
    with faulty(s3_endpoint, first(5, "503", "PUT")) as proxy:
        through(proxy, s3_store.root).write("t", FRAME, RARE)
    assert len(at_once) == 5
    for attempt, pause_s in enumerate(at_once):  # at random below 1, 2, 4, 8, 16 s
        assert 0 <= pause_s <= 2**attempt
    assert sum(at_once) > 0


def test_a_bucket_that_stays_away_is_an_error_and_the_old_state_stays(
    s3_store: Store, s3_endpoint: str
) -> None:
    old = s3_store.write("t", OTHER, RARE)
    with faulty(s3_endpoint, first(99, "503", "PUT")) as proxy:
        with pytest.raises(OSError, match=r"S3 failed at s3://.*/part-\w+\.parquet.*SlowDown"):
            through(proxy, s3_store.root).write("t", FRAME, RARE)
        assert 5 <= proxy.done["503"] <= 9
    with (
        faulty(s3_endpoint, first(99, "cut download", "GET")) as proxy,
        pytest.raises(ConnectionError, match="S3 cannot be reached for s3://"),
    ):
        through(proxy, s3_store.root).read("t", RARE)
    assert proxy.done["cut download"] == 5
    assert s3_store.manifest("t", RARE) == old
    assert s3_store.read("t", RARE).equals(OTHER)


def test_an_upload_that_is_cut_for_good_is_never_a_partition(
    s3_store: Store, s3_endpoint: str
) -> None:
    """Whichever object it is, part or manifest, of a first commit or a second."""
    for old in (None, OTHER):
        if old is not None:
            s3_store.write("t", old, RARE)
        for broken in ("/part-", "/_manifest"):

            def cut(number: int, method: str, path: str, broken: str = broken) -> Fault | None:
                return "cut upload" if method == "PUT" and broken in path else None

            with (
                faulty(s3_endpoint, cut) as proxy,
                pytest.raises(ConnectionError, match="S3 cannot be reached"),
            ):
                through(proxy, s3_store.root).write("t", FRAME, RARE)
            assert s3_store.partitions("t") == ([] if old is None else [RARE])
            assert old is None or s3_store.read("t", RARE).equals(old)
        s3_store.delete("t", RARE)


@pytest.mark.parametrize(
    ("method", "act", "permission"),
    [
        ("PUT", lambda store: store.write("t", FRAME, RARE), "s3:PutObject"),
        ("GET", lambda store: store.read("t", RARE), "s3:GetObject"),
        ("GET", lambda store: store.partitions("t"), "s3:ListBucket"),
        ("DELETE", lambda store: store.delete("t", RARE), "s3:DeleteObject"),
    ],
)
def test_a_refusal_names_the_permission_and_the_object(
    s3_store: Store, s3_endpoint: str, method: str, act: Any, permission: str
) -> None:
    old = s3_store.write("t", OTHER, RARE)
    with faulty(s3_endpoint, first(99, "403", method)) as proxy:
        with pytest.raises(PermissionError, match=permission) as caught:
            act(through(proxy, s3_store.root))
        assert proxy.done["403"] == 1  # a refusal is not asked again
    assert re.search(rf"{re.escape(s3_store.root)}/t/", str(caught.value))
    assert s3_store.manifest("t", RARE) == old


@pytest.mark.soak
def test_graph_through_faults_ends_with_the_undisturbed_bytes(
    finished: Home, home: Home, corpus: Any, s3_endpoint: str, s3_client: Any
) -> None:
    faults: list[Fault] = ["503", "500", "cut upload", "slow", "cut download"]

    def plan(number: int, method: str, path: str) -> Fault | None:
        if number % 7 != 3:
            return None
        fault = faults[number // 7 % len(faults)]
        wrong = {"cut upload": method != "PUT", "cut download": method != "GET"}
        return None if wrong.get(fault) else fault

    prefix = uuid.uuid4().hex
    with faulty(s3_endpoint, plan) as proxy:
        bucket = Home(
            home.folder,
            store=f"s3://{S3_BUCKET}/{prefix}",
            environment={
                "AWS_ACCESS_KEY_ID": "test",
                "AWS_SECRET_ACCESS_KEY": "test",
                "AWS_ENDPOINT_URL": proxy.url,
                "AWS_DEFAULT_REGION": "us-east-1",
            },
        )
        assert (
            bucket.main("run", str(corpus), "--run", "r1", "--seed", "7", "--labels", "medicine")
            == 0
        )
    assert len(proxy.done) == len(faults)
    assert sum(proxy.done.values()) > 20
    clean, disturbed = finished.store, Store(bucket.root, client=s3_client)
    for table in ["embeddings", *BY_LABEL_AND_RUN]:
        wanted = [p for p in clean.partitions(table) if p["label"] == "medicine"]
        assert [p for p in disturbed.partitions(table) if p["label"] == "medicine"] == wanted != []
        for partition in wanted:
            here, there = disturbed.manifest(table, partition), clean.manifest(table, partition)
            assert here == there, (table, partition)
            disturbed.read(table, partition)  # its sha256 is checked


def test_an_absent_partition_whose_answer_is_cut_is_absent(
    s3_store: Store, s3_endpoint: str
) -> None:
    with faulty(s3_endpoint, first(2, "cut download", "GET")) as proxy:
        assert through(proxy, s3_store.root).manifest("t", RARE) is None
    assert proxy.done["cut download"] == 2
