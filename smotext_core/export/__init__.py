"""A run's published rows in the formats that others read: a file a format.

It renders what it is given; which rows may leave is decided before.
"""

from smotext_core.export.croissant import croissant
from smotext_core.export.delta import delta_rows, put_in_delta
from smotext_core.export.hugging_face import parquet, readme, with_real
from smotext_core.export.spreadsheet import csv_bytes, guarded, unguarded

__all__ = [
    "croissant",
    "csv_bytes",
    "delta_rows",
    "guarded",
    "parquet",
    "put_in_delta",
    "readme",
    "unguarded",
    "with_real",
]
