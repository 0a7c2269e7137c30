"""Where tables lie: Parquet of record in a folder or in S3, commits, locks, the warehouse.

It knows frames and names, and neither assets nor what a column means.
"""

from smotext_assets.store.batches import Batches
from smotext_assets.store.bucket import Bucket, s3_errors
from smotext_assets.store.damaged import damaged, read_if_sound, read_sound
from smotext_assets.store.files import LOCK_TIMEOUT_S, file_lock
from smotext_assets.store.parquet import frame_sha256
from smotext_assets.store.processes import fail_dead_runs, hold
from smotext_assets.store.quarantine import QUARANTINED
from smotext_assets.store.receipts import (
    FORGOTTEN,
    GENERATOR_FORGOTTEN,
    WITHDRAWN,
    days_forgotten,
    document_of,
    notice,
    receipts,
    without_forgotten,
)
from smotext_assets.store.tables import JSON, Encoded, Inputs, Manifest, MissingPartition, Store
from smotext_assets.store.warehouse import refresh_warehouse

__all__ = [
    "FORGOTTEN",
    "GENERATOR_FORGOTTEN",
    "JSON",
    "LOCK_TIMEOUT_S",
    "QUARANTINED",
    "WITHDRAWN",
    "Batches",
    "Bucket",
    "Encoded",
    "Inputs",
    "Manifest",
    "MissingPartition",
    "Store",
    "damaged",
    "days_forgotten",
    "document_of",
    "fail_dead_runs",
    "file_lock",
    "frame_sha256",
    "hold",
    "notice",
    "read_if_sound",
    "read_sound",
    "receipts",
    "refresh_warehouse",
    "s3_errors",
    "without_forgotten",
]
