"""The dataset card, its page and its Markdown."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from html.parser import HTMLParser

import polars as pl
import pytest

from smotext_core.card.evidence_charts import efficacy_chart
from smotext_core.card.markdown_tables import samples
from smotext_core.schemas import EVALUATION, PRIVACY_AUDIT
from tests.core.card.made_cards import (
    HOSTILE,
    TAGS_OF_OURS,
    card_of,
    evaluation_of,
    plain,
    tokens_of,
)


class Elements(HTMLParser):
    """Every start tag with its attributes, and the text outside of tags."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.text = ""
        self.feed(page)

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))

    def handle_data(self, data):
        self.text += data


def test_samples_come_with_the_texts_of_their_parents():
    labelled = pl.DataFrame({"text_id": ["a", "b"], "text": ["base text", "other | text"]})
    synthetic = pl.DataFrame(
        {
            "label": ["x", "x", "x"],
            "text": ["mixed", "alone", "orphan"],
            "round_trip_cosine": [0.5, 0.6, 0.7],
            "parent_ids": [["a", "b"], ["a"], ["a", "gone"]],
            "weights": [[0.7, 0.3], [1.0], [0.5, 0.5]],
        }
    )
    gone = "(no longer in the corpus)"
    assert samples(synthetic, labelled) == [
        ("x", "mixed", 0.5, [(0.7, "base text"), (0.3, "other | text")]),
        ("x", "alone", 0.6, [(1.0, "base text")]),
        ("x", "orphan", 0.7, [(0.5, "base text"), (0.5, gone)]),
    ]


def test_dataset_card_shows_hostile_text_as_text():
    page, markdown = card_of(HOSTILE, HOSTILE[:9])
    elements = Elements(page)
    assert all(TAGS_OF_OURS.fullmatch(tag) for tag, _ in elements.tags)
    names = {name for _, attributes in elements.tags for name in attributes}
    allowed = {"lang", "charset", "name", "content", "http-equiv", "class", "dir", "id", "style"}
    assert names <= {*allowed, "alt", "src", "data-name"}
    assert plain(HOSTILE[0]) in elements.text
    assert plain(HOSTILE[3]) in elements.text
    kinds = {token.type for token in tokens_of(markdown.split("---\n", 2)[2])}
    assert not kinds & {"html_inline", "html_block", "link_open", "image", "em_open", "s_open"}


def test_dataset_card_says_where_not_all_labels_were_judged(monkeypatch):
    labels = ("a", "b", "c")
    for most, told in ((3, False), (2, True)):
        monkeypatch.setattr("smotext_core.card.evidence.MOST_LABELS", most)
        for shown in card_of(labels, labels):
            assert ("Of 3 labels 2 were looked at" in shown) is told
            assert ("2 labels (macro-F1)" in shown) is told
            assert ("all labels (macro-F1)" in shown) is not told


def test_dataset_card_page_requests_nothing():
    page, _ = card_of(HOSTILE, HOSTILE[:3])
    for tag, attributes in Elements(page).tags:
        assert tag not in {"script", "link", "iframe", "object", "a", "base"}
        for name in ("src", "href"):
            assert (attributes.get(name) or "data:").startswith("data:")
    style = page.split("<style>")[1].split("</style>")[0]
    assert "url(" not in style
    assert "@import" not in style


def test_dataset_card_markdown_begins_with_a_hub_header():
    hostile = 'run"\n---\nlicense: mit'
    _, markdown = card_of(("a text", "b text"), ("x", "y"), run=hostile, licence="cc-by-4.0")
    assert markdown.startswith("---\n")
    header = dict(line.split(": ", 1) for line in markdown.split("---\n")[1].splitlines())
    values = {key: json.loads(value) for key, value in header.items()}  # JSON is YAML
    assert values["license"] == "cc-by-4.0"
    assert values["language"] == ["en"]
    assert values["task_categories"] == ["text-classification"]
    assert "synthetic" in values["tags"]
    assert values["size_categories"] == ["n<1K"]


@pytest.mark.parametrize(
    ("n", "category"), [(999, "n<1K"), (1000, "1K<n<10K"), (23_456, "10K<n<100K")]
)
def test_dataset_card_names_its_size(n, category):
    rows = pl.DataFrame(
        {
            "sample_id": [f"s{i}" for i in range(n)],
            "label": "x",
            "text": "t",
            "round_trip_cosine": 0.5,
            "parent_ids": [["t0"]] * n,
            "weights": [[1.0]] * n,
        }
    )
    _, markdown = card_of(("a", "b"), ("x", "y"), synthetic=rows)
    assert f'size_categories: ["{category}"]' in markdown


def test_dataset_card_speaks_plainly_of_leaks_and_help():
    page, markdown = card_of(("one text", "two text"), ("x", "y"))
    for document in (Elements(page).text, markdown):
        assert "1 passed, 1 red, 1 not judged" in document
        assert "Passing is no guarantee" in document
        assert "+0.100 (+0.050 to +0.150): helps" in document
        assert "−0.010 (−0.060 to +0.040): no evidence" in document
        assert not re.search(r"\b(private|anonym)", document, re.IGNORECASE)


def test_dataset_card_of_a_run_that_made_nothing():
    page, markdown = card_of(
        ("one text", "two text"),
        ("x", "y"),
        synthetic=pl.DataFrame(
            schema={
                **dict.fromkeys(("sample_id", "label", "text"), pl.String),
                "round_trip_cosine": pl.Float32,
                "parent_ids": pl.List(pl.String),
                "weights": pl.List(pl.Float64),
            }
        ),
        rejected=pl.DataFrame(schema={"reason": pl.String, "count": pl.Int64}),
        evaluation=EVALUATION.to_frame(),
        privacy_audit=PRIVACY_AUDIT.to_frame(),
        pictures={},
    )
    for document in (Elements(page).text, markdown):
        assert "No synthetic text passed the filters." in document
        assert document.count("Not judged:") == 2


def test_dataset_card_is_the_same_twice():
    assert card_of(HOSTILE, HOSTILE[:3]) == card_of(HOSTILE, HOSTILE[:3])


@pytest.mark.parametrize(
    ("config", "command"),
    [
        (
            {"seed": 7, "strategy": "svm", "k_neighbors": 4, "lam": "beta:0.4", "mixing": None},
            "--seed 7 --strategy svm --k-neighbors 4 --lam beta:0.4 --sampling-strategy auto",
        ),
        (
            {"sampling_strategy": {"a": 3, "b": 4}, "across_documents": False},
            "--totals a=3,b=4 --no-across-documents",
        ),
    ],
)
def test_dataset_card_names_the_command_with_its_options(config, command):
    page, markdown = card_of(("one text", "two text"), ("x", "y"), config=config)
    line = f"smotext run CORPUS --generator mini --run 20261122T0300 {command}"
    for document in (Elements(page).text, markdown):
        assert line in document
        assert f"{line} --" not in document  # nothing after it


def test_card_imports_no_heavy_library():
    code = (
        "import sys, smotext_core.card; "
        "print({'sklearn', 'matplotlib', 'PIL', 'torch'} & {m.split('.')[0] for m in sys.modules})"
    )
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert found.stdout.strip() == "set()"


def told_first(page: str) -> list[tuple[str, str]]:
    """Tone and sentence of the verdict at the head of a card."""
    return re.findall(r'<li class="(\w+)" dir="auto">(.*?)</li>', page)


def test_dataset_card_has_a_tick_only_where_most_are_helped_and_none_is_hurt():
    frame = evaluation_of("x", "y", "z")

    def tone(**verdict_of: str) -> tuple[str, str]:
        verdict = pl.col("label").replace_strict(verdict_of, default="no evidence")
        own = pl.col("arm") == "smotext"
        given = frame.with_columns(
            pl.when(own).then(verdict).otherwise("verdict").alias("verdict"),
            pl.when(own).then(verdict).otherwise("over_verdict").alias("over_verdict"),
        )
        page, _ = card_of(("a text",), ("x", "y", "z"), evaluation=given)
        return told_first(page)[0]

    assert tone(x="helps", y="helps") == (
        "good", "It helps 2 of 3 labels with enough test texts: x, y."
    )  # fmt: skip
    assert tone(x="helps")[0] == "open"
    assert tone(x="helps", y="helps", z="hurts") == (
        "open",
        "It helps 2 of 3 labels with enough test texts: x, y. "
        "It hurts 1 of 3 labels with enough test texts: z.",
    )
    assert tone() == ("open", "No evidence that it helps any of 3 labels with enough test texts.")
    few, summary = card_of(("a text",), ("x", "y"), n_test=4)
    assert "– labels it helps" in summary  # counted of those that were judged, as the sentence does
    assert "2 of 2 labels it helps" in card_of(("a text",), ("x", "y"))[1]
    assert told_first(few)[0] == ("open", "Whether it helps a classifier was not judged.")


def test_dataset_card_leads_with_its_verdict_and_shows_examples():
    gates = pl.DataFrame(
        {
            "run": "r",
            "label": ["<b>x</b>", "y", "z"],
            "gate": ["leak", "help", "leak"],
            "value": [0.7, -0.1, 0.1],
            "limit": [0.6, 0.0, 0.6],
            "passed": [False, False, True],
            "published_anyway": ["<i>known", None, None],
        }
    )
    examples = {"too short": "<i>so short"}
    page, markdown = card_of(("a text", "b text"), ("x", "y"), gates=gates, examples=examples)
    text = Elements(page).text
    assert "It helps" in text.split("What this is")[0]
    assert "1 of 3 leak measures are red" in text.split("What this is")[0]
    assert "Held back: y (help)." in text
    assert "Published all the same: <b>x</b> (leak)." in text
    assert "published all the same: <i>known" in text
    assert "<i>so short" in text
    assert "&#60;i&#62;so short" in markdown
    passed = card_of(("a text", "b text"), ("x", "y"), gates=gates.tail(1))
    assert passed == card_of(("a text", "b text"), ("x", "y"))
    assert "Held back" not in passed[0]


def test_dataset_card_shows_arms_and_heads_it_does_not_know():
    frame = evaluation_of("x", "y")
    new = frame.with_columns(pl.col("head").replace("tfidf", "transformer"))
    assert efficacy_chart(new) != efficacy_chart(frame)
    more = frame.vstack(
        frame.filter(pl.col("arm") == "smotext", pl.col("label").is_null()).with_columns(
            arm=pl.lit("another")
        )
    )
    assert efficacy_chart(more) != efficacy_chart(frame)
