from __future__ import annotations

import importlib.util
import io
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
from markdown_it import MarkdownIt
from PIL import Image

from smotext_core.xrag.search import Candidates
from tests.fakes import FakeGenerator, fake_corpus

DOCS = Path(__file__).parents[2] / "docs"
NOTES = ("fever throat cough patient clinic", "insulin kidney cardiac lung pressure")
HOSTILE = (
    "<script>alert(1)</script> | [a](https://example.org/a) ![i](https://example.org/i.png) "
    "`code` $note_a ${n} # head **b** https://example.org"
)


@pytest.fixture(scope="module")
def case() -> Iterator[ModuleType]:
    """docs/case_study.py, with the folder it lies in on the path as when it is run."""
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(DOCS)
        spec = importlib.util.spec_from_file_location("case_study", DOCS / "case_study.py")
        assert spec is not None
        assert spec.loader is not None
        module = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
        yield module


class Recorder(FakeGenerator):
    """Keeps the vectors and seeds it was asked to decode."""

    def decode_candidates(self, vectors, *, seeds, **given):
        self.vectors, self.seeds = vectors, seeds
        return super().decode_candidates(vectors, seeds=seeds, **given)


class Hostile(FakeGenerator):
    """Decodes every vector to markup."""

    def decode_candidates(self, vectors, *, seeds, n_candidates, **given):
        found = super().decode_candidates(vectors, seeds=seeds, n_candidates=n_candidates, **given)
        texts = [[HOSTILE] * n_candidates for _ in vectors]
        return Candidates(texts, found.cosines, found.embeddings)


def test_attributes_of_the_two_notes(case):
    assert [name for _, name in case.attributes(case.NOTES[0])] == [
        *("24", "male", "throat", "cough", "fever", "red", "tonsil", "enlarged"),
        *("pharyngitis", "amoxicillin"),
    ]
    assert case.attributes(case.NOTES[1]) == [
        ("age", "78"),
        ("sex", "female"),
        ("complaints", "shortness of breath"),
        ("findings", "edema"),
        ("diagnoses", "diabetes"),
        ("diagnoses", "hypertension"),
        ("diagnoses", "heart failure"),
        ("treatment", "Lasix"),
    ]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("DYSPNEA and Swollen legs", ["shortness of breath", "edema"]),  # case, other words
        ("fevers, murmurs", ["fever", "murmur"]),  # an s more
        ("tired, shed, feverish, sheriff, Laside", []),  # whole words only
        ("Ages 24-year-old, 24 years old and aged 90", ["24", "90"]),  # each once
        ("a 7-month-old, 24 years, 300 mg, 1234-year-old", []),
        ("She brought her husband; he is well.", ["male", "female"]),
        ("No cough.", ["cough"]),  # the rule reads no negation
        ("", []),
    ],
)
def test_attributes_follows_the_rule(case, text, expected):
    assert [name for _, name in case.attributes(text)] == expected


def test_words_name_each_attribute_once(case):
    names = [name for _, name, _ in case._PATTERNS]

    assert len(names) == len(set(names))
    for kind, name, _ in case._PATTERNS:
        assert (kind, name) in case.attributes(f"the {name} there")


def test_decode_path_mixes_and_restores_the_length(case):
    generator = Recorder()
    texts, labels = fake_corpus({"medicine": 6}, seed=1)

    study = case.decode_path(generator, NOTES, texts, labels)

    a, b = generator.encode(NOTES).astype(np.float64)
    plain = np.array([(1 - lam) * a + lam * b for lam in (0, 0.25, 0.5, 0.75, 1)])
    lengths = np.linalg.norm(plain, axis=1)
    np.testing.assert_allclose(study.points, plain / lengths[:, None], atol=1e-6)
    np.testing.assert_allclose(generator.vectors[:5], study.points, atol=1e-6)
    np.testing.assert_allclose(generator.vectors[5:], plain[1:4], atol=1e-6)
    assert generator.seeds == [0, 1, 2, 3, 4, 1, 2, 3]
    assert study.shrunk == pytest.approx(lengths[2], abs=1e-6)
    assert lengths[2] < 0.95
    np.testing.assert_allclose(
        study.to_notes(study.points)[[0, -1], [0, 1]], 1, atol=1e-6
    )  # the ends are the notes
    assert [len(row) for row in study.found.texts] == [16] * 5


def test_decode_path_leaves_other_vectors_as_they_are(case):
    generator = Recorder(normalized=False)

    study = case.decode_path(generator, NOTES, ["patient fever"], ["medicine"])

    a, b = generator.encode(NOTES).astype(np.float64)
    np.testing.assert_allclose(generator.vectors[2], (a + b) / 2, atol=1e-6)
    restored = (np.linalg.norm(a) + np.linalg.norm(b)) / 2
    assert np.linalg.norm(generator.vectors[6]) == pytest.approx(restored, abs=1e-5)
    assert not study.restored


def test_write_page_shows_texts_as_data(case):
    study = case.decode_path(Hostile(), (HOSTILE, NOTES[1]), [HOSTILE], [HOSTILE])

    page = case.write_page(study, name=HOSTILE, licence=HOSTILE, fingerprint=HOSTILE)

    tokens = MarkdownIt("commonmark").enable("table").parse(page)
    inline = [child for token in tokens for child in token.children or []]
    assert not [t for t in (*tokens, *inline) if t.type.startswith("html")]
    links = {str(t.attrs["href"]) for t in inline if t.type == "link_open"}
    assert links == {"#further-texts", "#the-rule", "experiments.md"}
    images = [str(t.attrs["src"]) for t in inline if t.type == "image"]
    assert images == [f"images/case-{name}.png" for name in ("cosine", "attributes", "map")]
    rows = ["".join(c.content for c in t.children or []) for t in tokens if t.type == "inline"]
    # note A; name, licence, fingerprint; 5 closest; 15 further; 5 real ones and their labels
    assert sum(HOSTILE in row for row in rows) == 1 + 3 + 5 + 15 + 5 + 5


def test_path_map_shows_labels_as_data(case):
    study = case.decode_path(FakeGenerator(), NOTES, *fake_corpus({"medicine": 9}, seed=1))

    picture = case.path_map(
        study.points,
        decoded=study.decoded,
        real=study.real,
        labels=["$x^{"] * 5 + ["\N{SNOWMAN}" * 90] * 4,  # no formula, and cut
        lams=case.LAMS,
    )

    assert Image.open(io.BytesIO(picture)).size == (1400, 1000)
