"""A run's published rows in the formats that others read: a file a format.

It renders what it is given; which rows may leave is decided before.
"""

from smotext_core.export.croissant import croissant
from smotext_core.export.delta import delta_rows, put_in_delta
from smotext_core.export.hugging_face import parquet, readme, with_real

__all__ = [
    "croissant",
    "delta_rows",
    "parquet",
    "put_in_delta",
    "readme",
    "with_real",
]
