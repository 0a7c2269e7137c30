"""What somebody else's table of synthetic texts tells of the real ones, before you pass it on.

python examples/audit_table.py synthetic.csv --real train.csv --unseen holdout.csv

The table may come from any generator. `--real` are the texts that it was made from, `--unseen` real
texts of the same kind that it was not made from: only against those can be said whether it is
nearer to the first than chance makes it. The exit status is 1 where something is red.
"""

from __future__ import annotations

import argparse
import sys

import polars as pl

from smotext_core.privacy import MEASURES, audit_table
from smotext_core.texts import read_corpus
from smotext_core.xrag import load_generator


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("synthetic", help="a .csv, .jsonl or .parquet file: text, label")
    parser.add_argument("--real", required=True)
    parser.add_argument("--unseen", required=True)
    given = parser.parse_args()

    def texts(source: str) -> pl.DataFrame:
        return read_corpus(source)[0].select("text", "label")

    measures = audit_table(
        texts(given.synthetic),
        texts(given.real),
        texts(given.unseen),
        encode=load_generator("mini").encode,  # all embedded generators have the same encoder
        name=given.synthetic,
    )
    red = measures.filter(~pl.col("passed"))
    for row in red.sort("label", "measure").iter_rows(named=True):
        where = "the whole table" if row["label"] is None else f"label {row['label']!r}"
        what = MEASURES.get(row["measure"], row["measure"])
        print(f"red, {where}: {what}: {row['value']:.2f}, the limit is {row['threshold']:.2f}")
    judged = measures["passed"].drop_nulls().len()
    print(f"{red.height} of {judged} measures are red; {measures.height - judged} had too few rows")
    return int(red.height > 0)


if __name__ == "__main__":
    sys.exit(main())
