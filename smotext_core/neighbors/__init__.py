"""Who is near whom: exact search, an index for many rows, the stored table of neighbours.

Vectors in, places and cosines out; what a neighbour is good for is decided in `mixing`.
"""

from smotext_core.neighbors.exact import (
    ROWS_BYTES,
    SIMILARITY_BYTES,
    UnitVectors,
    closest_cosine,
    nearest_neighbors,
    nearest_records,
    search_whole_rows,
    unit,
    vector_norms,
)
from smotext_core.neighbors.index import find_neighbors
from smotext_core.neighbors.table import neighbor_rows, neighbor_table

__all__ = [
    "ROWS_BYTES",
    "SIMILARITY_BYTES",
    "UnitVectors",
    "closest_cosine",
    "find_neighbors",
    "nearest_neighbors",
    "nearest_records",
    "neighbor_rows",
    "neighbor_table",
    "search_whole_rows",
    "unit",
    "vector_norms",
]
