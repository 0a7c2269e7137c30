"""A label's slug: a safe name of a folder, and no two labels share one."""

import hashlib
import re

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from smotext_core.texts.passages import label_slugs


def test_label_slugs_golden():
    labels = [
        "rec.autos", "Cardiovascular / Pulmonary", "ENT - Otolaryngology", "a|b", "../etc",
        ".hidden", "two\nlines", "🦠", "naïve café", "東京 1", "snake_case", "x" * 70, "-", "..",
    ]  # fmt: skip

    slugs = label_slugs(labels)

    assert [slugs[label] for label in labels] == [
        "rec-autos", "Cardiovascular-Pulmonary", "ENT-Otolaryngology", "a-b", "etc", "hidden",
        "two-lines", "label-bde54945", "naive-cafe", "1-0dde9b72", "snake_case",
        "x" * 51 + "-" + "c71bd109", "label-3973e022", "label-5ec1f7e7",
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("labels", "keeps"),
    [
        (["-1", "0", "1"], "1"),  # sentiment
        (["C", "C#", "C++"], "C"),
        (["r", "R"], "R"),
        (["a/b", "a b", "A|B"], "A|B"),
        (["café", "cafe"], "cafe"),
        (["__class__", "_class_", "class"], "_class_"),
        (["a b", "a-b", f"a-b-{hashlib.sha256(b'a b').hexdigest()[:8]}"], "a-b"),
    ],
)
def test_label_slugs_lose_no_class_for_its_name(labels, keeps):
    slugs = label_slugs(labels)
    assert set(slugs) == set(labels)
    assert len({slug.lower() for slug in slugs.values()}) == len(labels)
    assert slugs[keeps] == keeps.replace("|", "-")
    # whatever the order, and whatever others there are
    assert label_slugs([*labels[::-1], "another"]) == {**slugs, "another": "another"}


def test_label_slugs_are_no_names_that_dagster_reads_as_a_type():
    for label in ("__class__", "__enum__", "__set__"):
        assert re.fullmatch(rf"{label}-[0-9a-f]{{8}}", label_slugs([label])[label])


@given(st.lists(st.text(min_size=1, max_size=80), max_size=20))
@example(["..", ".", "CON", "a\x00b", "\u202e", "ﷺ", "-" * 70, "a" * 59 + "-" + "b"])
def test_label_slugs_are_safe_path_components(labels):
    slugs = label_slugs(labels)

    assert set(slugs) == set(labels)
    for slug in slugs.values():
        assert re.fullmatch(r"[A-Za-z0-9_][A-Za-z0-9_-]{0,59}", slug)
    assert len({slug.lower() for slug in slugs.values()}) == len(slugs)
    assert slugs == label_slugs(labels[::-1])
