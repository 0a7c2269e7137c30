"""From a CSV to a classifier that knows the rare classes better, without Dagster.

python examples/classifier.py notes.csv --text note --label specialty

Splits the rows and fits TF-IDF and logistic regression on the real train texts; on the same with
class weights; with as many texts more a class as `SMOTExT` adds, made by swapping, inserting or
deleting a tenth of a train text's words; with those of `SMOTExT`; and with both. All are scored on
the same real test texts. It may say that nothing is gained: then don't add the rows.
"""

from __future__ import annotations

import argparse
from collections import Counter

from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import f1_score
from sklearn.model_selection import train_test_split
from sklearn.pipeline import make_pipeline

from smotext_core import SMOTExT
from smotext_core.efficacy import edit_texts
from smotext_core.texts import read_corpus


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("corpus", help="a .csv, .jsonl or .parquet file, or clinic_notes")
    parser.add_argument("--text", default="text", help="column of texts")
    parser.add_argument("--label", default="label", help="column of labels")
    parser.add_argument("--generator", default=None, help="small, mini or a folder")
    parser.add_argument("--seed", type=int, default=0)
    given = parser.parse_args()

    rows, refused = read_corpus(given.corpus, text=given.text, label=given.label)
    print(f"{rows.height} rows read, {refused.height} refused")
    train, test, train_labels, test_labels = train_test_split(
        rows["text"].to_list(),
        rows["label"].to_list(),
        test_size=0.3,
        stratify=rows["label"].to_list(),
        random_state=given.seed,
    )

    smotext = SMOTExT(generator=given.generator, random_state=given.seed)
    more, more_labels = smotext.fit_resample(train, train_labels)
    for row in smotext.lineage_.head(3).iter_rows(named=True):
        parents = " + ".join(
            f"{weight:.2f} × «{train[index][:40]}»"
            for index, weight in zip(row["parent_index"], row["weights"], strict=True)
        )
        print(f"{row['label']}: {row['text']}\n    of {parents}")

    edited, edited_labels = [], []
    for label, n in Counter(more_labels[len(train) :]).items():
        own = [text for text, of in zip(train, train_labels, strict=True) if of == label]
        edited += edit_texts(own, n, label=label, seed=given.seed).texts
        edited_labels += [label] * n

    for name, texts, labels, weights in (
        ("real", train, train_labels, None),
        ("real, class weights", train, train_labels, "balanced"),
        ("real + word edits", train + edited, train_labels + edited_labels, None),
        ("real + SMOTExT", more, more_labels, None),
        ("real + SMOTExT + word edits", more + edited, more_labels + edited_labels, None),
    ):
        classifier = LogisticRegression(max_iter=1000, class_weight=weights)
        model = make_pipeline(TfidfVectorizer(), classifier)
        said = model.fit(texts, labels).predict(test)
        score = f1_score(test_labels, said, average="macro")
        print(f"{name}: {len(texts)} texts, macro-F1 {score:.3f} on {len(test)} test texts")


if __name__ == "__main__":
    main()
