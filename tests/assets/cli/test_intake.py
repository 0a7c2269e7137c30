"""What people bring, from the command's side."""

import uuid
from pathlib import Path
from typing import TYPE_CHECKING

import polars as pl
import pytest

from smotext_assets.graph import StoreResource
from smotext_assets.stages.inbox import inbox_frames
from tests.assets.conftest import Home, copy_of, corpus_rows, write_corpus
from tests.conftest import S3_BUCKET

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client


def test_run_takes_the_export_of_a_european_desktop_without_an_option(
    home: Home, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "Tickets 2026.csv"
    rows = [f'{n};"Größe: {text}";{label}' for n, (text, label) in enumerate(corpus_rows())]
    path.write_bytes("\r\n".join(["Nr; Text ; Label ", *rows]).encode("cp1252"))

    assert home.main("run", str(path), "--run", "r1", "--labels", "astronomy") == 0

    told = " ".join(capfd.readouterr().err.split())
    assert "CSV with semicolons, cp1252; text in ' Text ', label in ' Label '" in told
    assert home.store.read("rejected_rows", {"stage": "raw_corpus"}).is_empty()
    texts = home.store.read("raw_corpus")["text"]
    assert texts.len() == len(rows)
    assert texts.str.starts_with("Größe: ").all()


def parts(folder: Path) -> list[str]:
    """The demo rows as a data set partitioned by label, one file a label; the labels."""
    by_label: dict[str, list[str]] = {}
    for text, label in corpus_rows():
        by_label.setdefault(label, []).append(text)
    for label, texts in by_label.items():
        (folder / f"label={label}").mkdir(parents=True)
        pl.DataFrame({"text": texts}).write_parquet(folder / f"label={label}" / "part-0.parquet")
    (folder / "_SUCCESS").touch()
    (folder / "other").mkdir()
    (folder / "other" / "not-of-it.csv").write_text("text,label\nno,no\n")
    return sorted(by_label)


def raw(home: Home) -> list[tuple[str, str, str]]:
    rows: list[tuple[str, str, str]] = home.store.read("raw_corpus").rows()
    return rows


def test_run_reads_a_partitioned_data_set_as_one_corpus(
    home: Home, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    labels = parts(tmp_path / "data")

    assert home.main("run", str(tmp_path / "data"), "--run", "r1", "--labels", "astronomy") == 0

    assert sorted((text, label) for _, text, label in raw(home)) == sorted(corpus_rows())
    assert {id_.rpartition("/")[0] for id_, _, _ in raw(home)} == {
        f"label={label}/part-0.parquet" for label in labels
    }
    told = " ".join(capfd.readouterr().err.split())
    assert f"data: {len(labels)} files as Parquet; text in 'text', label in 'label'" in told


def test_run_reads_a_glob_as_one_corpus(home: Home, tmp_path: Path) -> None:
    rows = corpus_rows()
    (tmp_path / "a").mkdir()
    write_corpus(tmp_path / "a" / "one.export", rows[::2])
    write_corpus(tmp_path / "a" / "two.export", rows[1::2])
    (tmp_path / "a" / "three.csv").write_text("text,label\nno,no\n")

    given = str(tmp_path / "*" / "*.export")
    assert home.main("run", given, "--run", "r1", "--labels", "astronomy") == 0

    assert sorted((text, label) for _, text, label in raw(home)) == sorted(rows)
    assert raw(home)[0][0] == "a/one.export/0"


@pytest.mark.parametrize("rest", ["", "*.csv", "**/*.csv"])
def test_inbox_frames_reads_a_prefix(
    s3_client: "S3Client",
    s3_endpoint: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    rest: str,
) -> None:
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "test")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "test")
    prefix = uuid.uuid4().hex
    files = {
        "a.csv": "text,label\none,a\n",
        "label=b/c=%20x/p.csv": "text\ntwo\n",
        "label=__HIVE_DEFAULT_PARTITION__/p.csv": "text\nthree\n",
        "deeper/d.csv": "text,label\nfour,d\n",
    }
    for name, data in files.items():
        s3_client.put_object(Bucket=S3_BUCKET, Key=f"{prefix}/{name}", Body=data.encode())
    store = StoreResource(root="unused", endpoint_url=s3_endpoint, region_name="us-east-1")

    frames = inbox_frames(f"s3://{S3_BUCKET}/{prefix}/{rest}", store)
    found, refused = map(pl.concat, zip(*frames, strict=True))

    expected = {"a.csv/0": "a", "label=b/c=%20x/p.csv/0": "b", "deeper/d.csv/0": "d"}
    if rest == "":
        del expected["deeper/d.csv/0"]
    if rest == "*.csv":
        expected = {"a.csv/0": "a"}
    else:
        # no row of it can be used, so the file is the refused row
        assert refused["document_id"].to_list() == ["label=__HIVE_DEFAULT_PARTITION__/p.csv"]
        assert "1 null label" in refused["reason"][0]
    assert dict(found.select("document_id", "label").iter_rows()) == expected


@pytest.mark.parametrize("by", ["option", "variable"])
def test_unlabelled_texts_are_read_as_the_corpus_is(
    home: Home, tmp_path: Path, capfd: pytest.CaptureFixture[str], by: str
) -> None:
    """Bytes of cp850 are in doubt, and of two bars or semicolons either may part the fields."""
    corpus, more = tmp_path / "tickets.csv", tmp_path / "more.csv"
    rows = [f"Größe; {text}|{label}" for text, label in corpus_rows()]
    corpus.write_bytes("\n".join(["body|label", *rows]).encode("cp850"))
    texts = [f"Größe; parcel {n} of ours has not come yet|{n}" for n in range(20)]
    more.write_bytes("\n".join(["body|text", *texts]).encode("cp850"))
    options = ["--text", "body", "--delimiter", "|", "--encoding", "cp850"]
    named = ["--unlabelled", str(more)] if by == "option" else []
    if by == "variable":
        home.environment = {"SMOTEXT_UNLABELLED": str(more)}
    assert home.main("check", str(corpus), *options, *named) == 0
    assert "20 unlabelled passages" in " ".join(capfd.readouterr().out.split())
    given = ["run", str(corpus), "--run", "r1", "--labels", "medicine", *options, *named]
    assert home.main(*given, "--adapt", "0") == 0
    found = home.store.read("unlabelled_texts")["text"]
    assert set(found) == {text.partition("|")[0] for text in texts}


def test_run_refuses_options_of_reading_where_nothing_is_read(
    finished: Home, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    home = copy_of(finished, tmp_path)
    files = home.files()
    for words, refused in (
        (["--delimiter", ";"], "--delimiter"),
        (["--encoding", "cp1252", "--text", "body"], "--text, --encoding"),
        (["--label", "kind", "--unlabelled", "more.csv", "--text", "body"], "--label"),
        (["--explode"], "--explode"),
        (["--newsgroups"], "--newsgroups"),
        (["--id", "nr"], "--id"),
    ):
        assert home.main("run", "--run", "r1", *words) == 2
        said = " ".join(capfd.readouterr().err.split())
        assert said.startswith(f"smotext: {refused}: options of how a corpus is read need one")
        assert "the run r1 takes the one in the store" in said
    assert home.files() == files
