"""SMOTExT as scikit-learn and imbalanced-learn know estimators: tags, checks, routed metadata."""

from __future__ import annotations

import re
import subprocess
import sys
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import sklearn
from imblearn.base import is_sampler
from imblearn.pipeline import Pipeline
from sklearn.exceptions import UnsetMetadataPassedError
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.linear_model import LogisticRegression
from sklearn.utils import Tags, get_tags
from sklearn.utils.estimator_checks import check_estimator

from smotext_core import SMOTExT
from tests.fakes import FakeGenerator, fake_corpus

DOCS = Path(__file__).parents[2] / "docs" / "options.md"


class OfNumbers(SMOTExT):
    """Reads a row of numbers as the text that writes them: the checks have no other rows."""

    def __sklearn_tags__(self) -> Tags:
        tags = super().__sklearn_tags__()
        tags.input_tags.one_d_array = False  # of the checks' tables, not of their first column
        return tags

    def fit(self, X: Any, y: Any) -> SMOTExT:
        return super().fit(as_texts(X), y)

    def fit_resample(self, X: Any, y: Any, groups: Any = None) -> tuple[Any, Any]:
        return super().fit_resample(as_texts(X), y, groups)


def as_texts(table: Any) -> Any:
    if hasattr(table, "tocsr") or not np.size(table):
        return table
    rows = np.asarray(table)
    rows = rows[:, None] if rows.ndim == 1 else rows
    return [" ".join(f"value {value}" for value in row) for row in rows.tolist()]


def reasons() -> dict[str, str]:
    """The checks that do not apply, as the docs list them."""
    table = DOCS.read_text().partition("why it does not apply")[2].partition("\n\n")[0]
    return dict(re.findall(r"^\| `(check_\w+)` \| (.+) \|$", table, flags=re.MULTILINE))


def test_estimator_checks_pass_but_for_those_that_the_docs_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))  # of arrays that a check maps to disk
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        results = check_estimator(
            OfNumbers(generator=FakeGenerator()),
            expected_failed_checks=reasons(),
            on_skip=None,
            on_fail=None,
        )
    of: dict[str, set[str]] = {}
    for result in results:
        of.setdefault(result["status"], set()).add(result["check_name"])
    assert "failed" not in of, [r["exception"] for r in results if r["status"] == "failed"]
    assert of["xfail"] == set(reasons())  # none that passes is excused
    assert len(of["passed"]) > 30
    assert of.get("skipped", set()) <= {"check_array_api_input"}


def test_tags_are_those_of_a_sampler_of_strings() -> None:
    tags = get_tags(SMOTExT())
    assert tags.estimator_type == "sampler"
    assert is_sampler(SMOTExT())
    given = tags.input_tags
    assert (given.string, given.one_d_array, given.two_d_array, given.sparse) == (
        True, True, True, False,
    )  # fmt: skip
    assert tags.target_tags.required


def test_features_and_labels_that_are_none_are_refused_by_name() -> None:
    texts, labels = fake_corpus({"astronomy": 4, "cooking": 3})
    features = TfidfVectorizer().fit_transform(texts)
    smotext = SMOTExT(generator=FakeGenerator())
    for given in (features, features.tocoo()):
        with pytest.raises(ValueError, match=r"sparse matrix.*before they become features"):
            smotext.fit_resample(given, labels)
    with pytest.raises(ValueError, match=r"shape \(7, \d+\).*before they become features"):
        smotext.fit_resample(features.toarray(), labels)
    with pytest.raises(ValueError, match="requires y to be passed, but the target y is None"):
        smotext.fit_resample(texts, None)


@pytest.fixture
def routing() -> Iterator[None]:
    with sklearn.config_context(enable_metadata_routing=True):
        yield


def pipeline(smotext: SMOTExT) -> Pipeline:
    return Pipeline(
        [("smotext", smotext), ("tfidf", TfidfVectorizer()), ("of", LogisticRegression())]
    )


def test_pipeline_hands_on_groups_that_are_asked_for(routing: None) -> None:
    texts, labels = fake_corpus({"astronomy": 30, "cooking": 6})
    groups = [f"{label}-{n // 2}" for n, label in enumerate(labels)]  # two passages a document
    options = {"generator": FakeGenerator(), "filters": None}
    asks = SMOTExT(**options).set_fit_resample_request(groups=True)  # type: ignore[attr-defined]

    fitted = pipeline(asks).fit(texts, labels, groups=groups)

    def of_one_document(smotext: SMOTExT) -> int:
        parents = smotext.lineage_["parent_index"].to_list()
        return sum(len({groups[row] for row in rows}) < len(rows) for rows in parents)

    assert fitted.named_steps["smotext"].lineage_.height == 24
    assert of_one_document(fitted.named_steps["smotext"]) == 0
    without = pipeline(SMOTExT(**options)).fit(texts, labels)
    assert of_one_document(without.named_steps["smotext"]) > 0  # the groups matter
    with pytest.raises(UnsetMetadataPassedError, match="groups"):
        pipeline(SMOTExT(**options)).fit(texts, labels, groups=groups)


def test_requests_are_of_groups_alone_whatever_is_imported_first() -> None:
    code = """
import sklearn
sklearn.set_config(enable_metadata_routing=True)
from smotext_core import SMOTExT
import imblearn.pipeline
smotext = SMOTExT().set_fit_resample_request(groups=True)
print(smotext.get_metadata_routing(), hasattr(smotext, "set_fit_request"))
"""
    done = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    assert done.stdout.strip() == "{'fit_resample': {'groups': True}} False"
