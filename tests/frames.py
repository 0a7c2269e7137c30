"""Small frames and a partition for tests of the store, and frames of any content."""

from pathlib import Path
from typing import Any

import polars as pl
from hypothesis import strategies as st

RARE = {"label": "rare", "run": "r1"}
ONE = pl.DataFrame({"text": ["one"], "number": [1]})
TWO = pl.DataFrame({"text": ["two", "two"], "number": [2, 2]})

TEXT = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=20)


@st.composite
def frames(draw: st.DrawFn) -> pl.DataFrame:
    rows = draw(st.integers(0, 6))
    dimension = draw(st.integers(1, 4))

    def column(values: st.SearchStrategy[Any], dtype: Any) -> pl.Series:
        nullable = st.one_of(st.none(), values)
        drawn = draw(st.lists(nullable, min_size=rows, max_size=rows))
        return pl.Series(drawn, dtype=dtype)

    float32 = st.floats(width=32, allow_nan=False)
    return pl.DataFrame(
        {
            "text": column(TEXT, pl.String),
            "number": column(st.integers(-(2**63), 2**63 - 1), pl.Int64),
            "small": column(st.integers(-(2**31), 2**31 - 1), pl.Int32),
            "passed": column(st.booleans(), pl.Boolean),
            "parent_ids": column(st.lists(TEXT, max_size=3), pl.List(pl.String)),
            "weights": column(
                st.lists(st.floats(allow_nan=False), max_size=3), pl.List(pl.Float64)
            ),
            "vector": column(
                st.lists(float32, min_size=dimension, max_size=dimension),
                pl.Array(pl.Float32, dimension),
            ),
        }
    )


def parts(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir() if path.name != "_manifest.json")
