from __future__ import annotations

import io
import json
import re
import subprocess
import sys
from html.parser import HTMLParser

import numpy as np
import polars as pl
import pytest
from markdown_it import MarkdownIt

from smotext_core.card.blocks import markdown_text
from smotext_core.card.card import dataset_card
from smotext_core.card.class_map import class_map
from smotext_core.card.evidence_charts import _place, efficacy_chart, funnel, leakage_chart
from smotext_core.card.markdown_tables import markdown_table, samples
from smotext_core.efficacy import WITH_ROWS
from smotext_core.schemas import EVALUATION, PRIVACY_AUDIT
from smotext_core.texts.diversity import diversity

HOSTILE = (
    "<script>alert(1)</script>",
    "a | b",
    "`code` ``` fence",
    "[x](javascript:alert(1))",
    "![i](https://example.org/i.png)",
    '=cmd()|" /C calc"!A0',
    "# head\n\n- item\n1. one\n---\n> quote",
    "<https://example.org> https://example.org www.example.org a@example.org",
    "*b* _i_ **s** ~~x~~ $m$ \\| &lt;b&gt; &amp;",
    "</td></table><img src=x onerror=alert(1)>",
    '" onmouseover="alert(1)',
    "\u202eevil\u2066 \x00\x1b[31m {css} {0}",
    "+ plus",
    "1) one",
)
TAGS_OF_OURS = re.compile(
    "html|head|meta|title|style|body|header|p|h1|ul|li|b|main|section|h2|div|table|thead|tbody|tr|"
    "th|td|article|span|figure|figcaption|i|img|pre|code"
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


def evaluation_of(*labels: str) -> pl.DataFrame:
    rows = []
    for head in ("embedding", "tfidf"):
        for arm in ("real", "smotext"):
            for metric, label in [("macro_f1", None), *(("f1", label) for label in labels)]:
                gain = None if arm == "real" else 0.1 if head == "embedding" else -0.01
                rows.append(
                    {
                        "run": "r",
                        "head": head,
                        "arm": arm,
                        "metric": metric,
                        "label": label,
                        "value": 0.5,
                        "n_seeds": 10,
                        "difference": gain,
                        "low": None if gain is None else gain - 0.05,
                        "high": None if gain is None else gain + 0.05,
                        "verdict": None if gain is None else "helps" if gain > 0 else "no evidence",
                    }
                    | (over_class_weight(gain) if gain is not None and arm in WITH_ROWS else {})
                )
    return pl.DataFrame(rows, schema=EVALUATION)


def over_class_weight(gain: float) -> dict[str, object]:
    """As if class weights gave nothing."""
    verdict = "helps" if gain > 0.05 else "no evidence"
    return {
        "cheap_arm": "class_weight", "over_cheap": gain, "over_low": gain - 0.05,
        "over_high": gain + 0.05, "over_verdict": verdict,
    }  # fmt: skip


def card_of(
    texts: tuple[str, ...], labels: tuple[str, ...], *, n_test: int = 5, **changes
) -> tuple[str, str]:
    n = len(texts)
    labelled = pl.DataFrame(
        {
            "text_id": [f"t{i}" for i in range(n)],
            "text": texts,
            "label": [labels[i % len(labels)] for i in range(n)],
            "split": ["train"] * n,
            "document_id": [f"d{i}" for i in range(n)],
        }
    )
    held_out = pl.DataFrame(
        [
            (f"test{i}", "held out", label, "test", f"test{i}")
            for i, label in enumerate(label for label in labels for _ in range(n_test))
        ],
        schema=labelled.schema,
        orient="row",
    )
    labelled = pl.concat([labelled, held_out])
    synthetic = pl.DataFrame(
        {
            "sample_id": [f"s{i}" for i in range(n)],
            "label": labelled["label"].head(n),
            "text": texts,
            "round_trip_cosine": [0.5] * n,
            "parent_ids": [[f"t{i}", f"t{(i + 1) % n}"] for i in range(n)],
            "weights": [[0.75, 0.25]] * n,
        }
    )
    counts = pl.DataFrame(
        {"label": labels, "real": 3, "wanted": 9, "made": 1, "main_reason": [*labels]}
    )
    audit = pl.DataFrame(
        [
            ("r", None, "identical_share", 0.0, 0.0, 0.0, True, None, None),
            ("r", labels[0], "membership_auc", 0.9, 0.5, 0.6, False, None, None),
            ("r", None, labels[0], 0.5, None, None, None, None, None),
        ],
        schema=PRIVACY_AUDIT,
        orient="row",
    )
    arguments = {
        "run": "20261122T0300",
        "config": {"seed": 7, "labels": list(labels), "text": texts[0]},
        "counts": counts,
        "synthetic": synthetic,
        "labelled": labelled,
        "rejected": pl.DataFrame({"reason": ["too short", labels[0]], "count": [3, 2]}),
        "evaluation": evaluation_of(*labels),
        "privacy_audit": audit,
        "pictures": dict.fromkeys(labels, b"png"),
        "generator": {"name": "mini", "licence": "Apache-2.0", "fingerprint": "ab12"},
        **changes,
    }
    return dataset_card(**arguments)


def tokens_of(markdown: str) -> list:
    """Every token of a GitHub-flavoured reading, inline ones too, links looked for."""
    found = []
    for token in (
        MarkdownIt("commonmark", {"html": True}).enable(["table", "strikethrough"]).parse(markdown)
    ):
        found += [token, *(token.children or [])]
    return found


def plain(text: str) -> str:
    return " ".join(re.sub(r"[\x00-\x1f\u202a-\u202e\u2066-\u2069]", " ", text).split())


@pytest.mark.parametrize("text", HOSTILE)
def test_markdown_text_is_read_back_as_plain_text(text):
    for markdown in (markdown_text(text), f"> {markdown_text(text)}", f"- {markdown_text(text)}"):
        tokens = [t for t in tokens_of(markdown) if t.type != "inline"]
        kinds = {t.type.removesuffix("_open").removesuffix("_close") for t in tokens}
        assert kinds <= {
            "paragraph",
            "text",
            "text_special",
            "blockquote",
            "bullet_list",
            "list_item",
        }
        assert "".join(t.content for t in tokens) == plain(text)
    # bare addresses become links in GitHub's dialect
    assert not re.search(r"://|www\.|@", markdown_text(text))


def test_markdown_table_keeps_hostile_cells_in_their_cells():
    frame = pl.DataFrame({"a|b": HOSTILE, "n": range(len(HOSTILE))})
    tokens = tokens_of(markdown_table(frame, max_rows=50))
    assert sum(t.type == "td_open" for t in tokens) == 2 * len(HOSTILE)
    assert sum(t.type == "th_open" for t in tokens) == 2
    assert not {"html_inline", "link_open", "image", "code_inline"} & {t.type for t in tokens}


def test_markdown_table_golden():
    frame = pl.DataFrame(
        {"a_b": ["x|y", None, "long text"], "n": [1234, 2, 3], "v": [0.12345, 1, 2]}
    )
    found = markdown_table(frame, columns=["a_b", "v", "n"], max_rows=2, max_characters=5)
    assert found == (
        "| a&#95;b | v | n |\n|---|---|---|\n| x&#124;y | 0.123 | 1,234 |\n| – | 1 | 2 |\n\n"
        "… and 1 more rows"
    )
    assert "| long… |" in markdown_table(frame, columns=["a_b"], max_characters=5)
    with pytest.raises(ValueError, match=r"\['z'\] are not among them"):
        markdown_table(frame, columns=["z"])


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


def audit_of(*rows: tuple) -> pl.DataFrame:
    given = [("r", None, *row, None, None) for row in rows]
    return pl.DataFrame(given, schema=PRIVACY_AUDIT, orient="row")


def picture_of(name: str, label: str) -> bytes:
    rng = np.random.default_rng(0)
    real = rng.normal(size=(300, 8))
    pairs = [(0, 1), (2, 3), (4,)]
    if name == "class_map":
        return class_map(real, (real[:-1] + real[1:]) / 2, parents=pairs, title=label)
    if name == "funnel":
        return funnel({"too short": 10, label: 5, "none": 0}, accepted=20)
    if name == "leakage_chart":
        return leakage_chart(audit_of((label, 0.9, 0.5, 0.6, False), ("x", 0.1, 0.5, None, None)))
    return efficacy_chart(evaluation_of("plain", label))


@pytest.mark.parametrize("name", ["class_map", "funnel", "efficacy_chart", "leakage_chart"])
def test_pictures_are_small_and_the_same_twice(name):
    from PIL import Image

    # a label is no formula, and a glyph no font has is no warning
    label = "$\\frac{1$ 😀 漢字 \u202e" + "long " * 40
    png = picture_of(name, label)
    assert png == picture_of(name, label)
    assert len(png) <= 60_000
    image = Image.open(io.BytesIO(png))
    assert image.size[0] == 884
    assert image.info.keys() <= {"transparency"}  # no date, no software
    assert len(np.unique(np.asarray(image))) > 2


def test_class_map_stays_small_and_quick_with_many_points():
    rng = np.random.default_rng(0)
    png = class_map(
        rng.normal(size=(20_000, 8)), rng.normal(size=(9_000, 8)), parents=[], title="x"
    )
    assert len(png) <= 60_000


def test_class_map_draws_a_class_of_one_text():
    assert class_map(np.ones((1, 4)), np.ones((2, 4)), parents=[(0,)], title="one").startswith(
        b"\x89PNG"
    )
    assert class_map(np.ones((3, 4)), np.empty((0, 4)), parents=[], title="none")


def test_class_map_refuses_unknown_parents():
    with pytest.raises(ValueError, match=r"rows of the 3 real ones.*unknown rows \[7\]"):
        class_map(np.ones((3, 4)), np.ones((1, 4)), parents=[(0, 7)], title="x")
    with pytest.raises(ValueError, match="at least one real row"):
        class_map(np.empty((0, 4)), np.ones((1, 4)), parents=[], title="x")


def test_funnel_refuses_negative_counts():
    with pytest.raises(ValueError, match="must not be negative"):
        funnel({"too short": -1}, accepted=3)
    assert funnel({}, accepted=0).startswith(b"\x89PNG")


def test_efficacy_chart_needs_an_arm_beside_real():
    with pytest.raises(ValueError, match="an arm other than 'real'"):
        efficacy_chart(EVALUATION.to_frame())


def test_report_imports_no_heavy_library():
    code = (
        "import sys, smotext_core.card; "
        "print({'sklearn', 'matplotlib', 'PIL', 'torch'} & {m.split('.')[0] for m in sys.modules})"
    )
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert found.stdout.strip() == "set()"


def test_leakage_chart_tells_outcomes_apart():
    charts = {
        leakage_chart(audit_of(row))
        for row in (
            ("m", 0.4, 0.5, 0.6, True),
            ("m", 0.55, 0.5, 0.6, True),
            ("m", 0.7, 0.5, 0.6, False),
            ("m", 9.0, 0.5, 0.6, False),  # off the scale
            ("m", 0.7, 0.5, None, None),
            ("m", None, None, None, None),
        )
    }
    assert len(charts) == 5  # the last two look alike: neither has a place
    same = leakage_chart(audit_of(("m", 0.0, 0.0, 0.0, True)))  # no room between expected and limit
    assert same == leakage_chart(audit_of(("m", 0.5, 0.5, 0.6, True)))
    with pytest.raises(ValueError, match="at least one row"):
        leakage_chart(PRIVACY_AUDIT.to_frame())


@pytest.mark.parametrize(
    ("value", "reference", "limit", "passed", "place"),
    [
        (0.55, 0.5, 0.6, True, 0.5),
        (0.92, 0.94, 0.90, True, 0.5),  # low is bad
        (0.88, 0.94, 0.90, False, 1.5),
        (0.0, 0.0, 0.0, True, 0.0),
        (0.2, 0.0, 0.0, False, 6.0),
        (0.05, 0.02, 0.0, False, 6.0),  # the holdout itself is over the limit
        (0.5, 0.5, None, None, None),
    ],
)
def test_a_measure_stands_between_expected_and_limit(value, reference, limit, passed, place):
    row = {"value": value, "reference": reference, "threshold": limit, "passed": passed}
    assert _place(row, value) == (place if place is None else pytest.approx(place))


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
    assert tone() == ("open", "No evidence that it helps any of 3 labels.")
    few, _ = card_of(("a text",), ("x", "y"), n_test=4)
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


def test_diversity_by_hand():
    # pairs: a b, b c | a b, b d: three different of four; common "a b" of three words each
    assert diversity(["a b c", "a b d"]) == (pytest.approx(3 / 4), pytest.approx(2 / 3))
    assert diversity(["a b", "c d"]) == (1.0, 0.0)
    assert diversity(["same words here"] * 5) == (pytest.approx(1 / 5), 1.0)
    assert diversity(["one", "a b c"]) is None
    assert diversity([]) is None
