"""What is given to others, and what stays in the store.

Vectors can be turned back into text: those of texts in `embeddings`, of mixtures in
`interpolated_vectors`, of candidates in `decoded_texts`. Pairs say of which texts a vector is mixed
and how, neighbours how near texts are to each other. All are as sensitive as the texts. Unlabelled
texts, and those of `found_texts`, are texts. Candidates
are here for their vectors: as text, the warehouse has those that the filters refused, too
(`rejected_texts`).
"""

import polars as pl

from smotext_core.schemas import SYNTHETIC_TEXTS

QUARANTINED = (
    "unlabelled_texts",
    "embeddings",
    "neighbors",
    "class_pairs",
    "interpolated_vectors",
    "decoded_texts",
    "found_texts",
)
# Tables whose folder or prefix others may read, and their columns.
PUBLISHED = {"synthetic_table": SYNTHETIC_TEXTS}


def check_not_quarantined(*tables: str) -> None:
    """Raises ValueError where one of `tables`, by its name in the store, must not be published."""
    for table in tables:
        if table in QUARANTINED:
            raise ValueError(
                f"{table} is as sensitive as the texts and is not published; what is: "
                f"{', '.join(PUBLISHED)} in the store, and the tables of the warehouse"
            )


def check_published(table: str, schema: pl.Schema) -> None:
    """Raises ValueError where a published table would get a column that is not one of its own."""
    own = PUBLISHED.get(table, schema)
    others = {name: str(dtype) for name, dtype in schema.items() if own.get(name) != dtype}
    if others:  # one of its own may be missing: of an older version, when a text is forgotten
        raise ValueError(f"{table} is read by others and has columns {list(own)}, not {others}")
