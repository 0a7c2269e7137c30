"""What goes wrong in one place stays there, and is made good later."""

import json
import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import dagster as dg
import pytest

from smotext_assets.graph.partitions import range_tags
from tests.assets.conftest import (
    BY_LABEL_AND_RUN,
    COUNTS,
    Calls,
    Home,
    copy_of,
    corpus_rows,
    failures,
    write_corpus,
)

REPOSITORY = Path(__file__).parents[2]


def test_bad_label_fails_alone_and_is_added_later(
    tmp_path: Path, home: Home, capfd: pytest.CaptureFixture[str]
) -> None:
    rows = [*corpus_rows(), ("a xylophone in the kidney clinic after relapse", "medicine")]
    corpus = write_corpus(tmp_path / "corpus.csv", rows)
    Calls.poison = "xylophone"
    assert home.main("run", str(corpus), "--run", "r1") == 1
    said = capfd.readouterr().err
    assert "medicine failed: RuntimeError: the encoder stumbled over xylophone" in said
    assert {row[2] for row in home.tables()["synthetic_texts"]} == {"cooking"}
    assert home.store.partitions("dataset_card") == []
    assert "cooking" in home.store.read_bytes("dataset_card/r1.md").decode()
    materialized = home.instance.get_materialized_partitions(dg.AssetKey("embeddings"))
    assert set(materialized) == {"astronomy", "cooking"}

    Calls.poison, decoded, Calls.encoded = None, Calls.decoded, []
    assert home.main("run", str(corpus), "--run", "r1") == 0
    assert {row[2] for row in home.tables()["synthetic_texts"]} == {"cooking", "medicine"}
    medicine = {text for text, label in rows if label == "medicine"}
    assert set(Calls.encoded) == medicine
    pairs = home.store.read("class_pairs", {"label": "medicine", "run": "r1"})
    assert Calls.decoded - decoded == pairs.height

    clean = Home(tmp_path / "clean")
    assert clean.main("run", str(corpus), "--run", "r1") == 0
    assert home.files(without=["runs"]) == clean.files(without=["runs"])


def test_range_with_a_bad_label_commits_the_others(
    finished: Home, tmp_path: Path, corpus: Path
) -> None:
    home = copy_of(finished, tmp_path)
    (vectors,) = Path(home.root, "interpolated_vectors/label=cooking/run=r1").glob("part-*")
    vectors.write_bytes(b"not Parquet")
    shutil.rmtree(Path(home.root, "decoded_texts"))
    tags = range_tags(["astronomy|r1", "medicine|r1"])
    result = home.materialize(corpus, ["decoded_texts"], tags=tags)
    assert not result.success
    assert list(failures(result)) == ["cooking|r1"]
    assert "was changed or damaged; materialise interpolated_vectors" in str(failures(result))
    key = dg.AssetKey("decoded_texts")
    assert set(home.instance.get_materialized_partitions(key)) == {"astronomy|r1", "medicine|r1"}

    # the remedy that the error names
    assert home.materialize(corpus, ["interpolated_vectors"], partition_key="cooking|r1").success
    assert home.materialize(corpus, ["decoded_texts"], tags=tags).success
    assert home.files() == finished.files()


def test_publishing_a_range_with_a_bad_label_publishes_the_others(
    finished: Home, tmp_path: Path, corpus: Path
) -> None:
    home = copy_of(finished, tmp_path)
    (texts,) = Path(home.root, "synthetic_texts/label=cooking/run=r1").glob("part-*")
    texts.unlink()
    shutil.rmtree(Path(home.root, "synthetic_table"))
    home.warehouse.unlink()
    tags = range_tags(["astronomy|r1", "medicine|r1"])
    result = home.materialize(corpus, ["synthetic_table"], tags=tags)
    assert list(failures(result)) == ["cooking|r1"]
    assert {row[2] for row in home.tables()["synthetic_texts"]} == {"medicine"}


@pytest.mark.parametrize("damage", ["part", "manifest", "gone"])
def test_damaged_embeddings_are_made_again(
    finished: Home, tmp_path: Path, damage: str, corpus: Path
) -> None:
    home = copy_of(finished, tmp_path)
    folder = Path(home.root, "embeddings/label=medicine")
    (part,) = folder.glob("part-*")
    if damage == "part":
        part.write_bytes(part.read_bytes()[:-1])
    elif damage == "manifest":
        (folder / "_manifest.json").write_text("{")
    else:
        part.unlink()
    assert home.materialize(corpus, ["embeddings"], partition_key="medicine").success
    assert home.files() == finished.files()
    assert len(Calls.encoded) == COUNTS["medicine"]


KILLED = """
import os, signal, sys
from pathlib import Path
from smotext_assets.graph.partitions import range_tags
from tests.assets.conftest import CountingGenerator, Home

def decode(self, vectors, **options):
    if len(vectors) == 15:  # medicine, the last label
        os.kill(os.getpid(), signal.SIGKILL)
    return before(self, vectors, **options)

before = CountingGenerator.decode_candidates
CountingGenerator.decode_candidates = decode
Home(Path(sys.argv[1])).main("run", sys.argv[2], "--run", "r1", "--seed", "7")
"""


def test_killed_run_goes_on_to_the_same_bytes(finished: Home, home: Home, corpus: Path) -> None:
    worker = subprocess.run(
        [sys.executable, "-c", KILLED, str(home.folder), str(corpus)],
        cwd=REPOSITORY,
        capture_output=True,
    )
    assert worker.returncode == -signal.SIGKILL
    done = {partition["label"] for partition in home.store.partitions("decoded_texts")}
    assert done == {"astronomy", "cooking"}
    assert home.main("run", str(corpus), "--run", "r1") == 0
    assert (Calls.encoded, Calls.decoded) == ([], 15)
    assert home.files(without=["runs"]) == finished.files(without=["runs"])


WORKER = """
import json, sys
from pathlib import Path
import dagster as dg
from smotext_assets.graph.partitions import range_tags
from tests.assets.conftest import BY_LABEL_AND_RUN, Home, failures

folder, corpus, label = sys.argv[1:]
home = Home(Path(folder))
home.instance = dg.DagsterInstance.get()
print("ready", flush=True)
sys.stdin.readline()
result = home.materialize(Path(corpus), BY_LABEL_AND_RUN, partition_key=f"{label}|r1")
print(json.dumps([result.success, failures(result)]))
"""


def test_two_processes_commit_two_labels_of_one_run(
    finished: Home, home: Home, corpus: Path
) -> None:
    dagster_home = home.folder / "dagster"
    dagster_home.mkdir(parents=True)
    config = (REPOSITORY / "dagster.yaml").read_text()
    (dagster_home / "dagster.yaml").write_text(
        config.replace(".smotext/dagster", str(dagster_home))
    )
    environment = {**os.environ, "DAGSTER_HOME": str(dagster_home), "OMP_NUM_THREADS": "1"}
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("DAGSTER_HOME", str(dagster_home))
        home.instance = dg.DagsterInstance.get()
        assert home.materialize(corpus, ["raw_corpus", "labelled_texts"]).success
        tags = range_tags(["astronomy", "medicine"])
        assert home.materialize(corpus, ["embeddings"], tags=tags).success
        home.instance.add_dynamic_partitions("smotext_run", ["r1"])
    workers = [
        subprocess.Popen(
            [sys.executable, "-c", WORKER, str(home.folder), str(corpus), label],
            cwd=REPOSITORY,
            env=environment,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
        )
        for label in ("cooking", "medicine")
    ]
    for worker in workers:
        assert worker.stdout is not None
        assert worker.stdout.readline() == "ready\n"
    for worker in workers:
        assert worker.stdin is not None
        worker.stdin.write("go\n")
        worker.stdin.flush()
    for worker in workers:
        out, _ = worker.communicate(timeout=600)
        assert json.loads(out.splitlines()[-1]) == [True, {}]
    keys = {"cooking|r1", "medicine|r1"}
    for name in BY_LABEL_AND_RUN:
        assert set(home.instance.get_materialized_partitions(dg.AssetKey(name))) == keys, name
    made = dict(home.query("SELECT label, count(*) FROM synthetic_texts GROUP BY label"))
    assert made == {"cooking": 8, "medicine": 10}
    assert len(home.store.partitions("runs")) == 1
