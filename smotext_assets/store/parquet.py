"""Frames as Parquet, whole or one row group at a time. The same rows give the same bytes."""

import hashlib
import io
from collections.abc import Iterable, Iterator
from typing import IO, TYPE_CHECKING

import polars as pl

if TYPE_CHECKING:
    import pyarrow as pa

ROW_GROUP = 65_536  # rows, of tables without vectors
VECTOR_BYTES = 4 * 2**20  # of the vectors of a row group, where frames are streamed


def parquet_bytes(frame: pl.DataFrame) -> bytes:
    buffer = io.BytesIO()
    frame.write_parquet(
        buffer, compression="zstd", compression_level=3, statistics=True, row_group_size=ROW_GROUP
    )
    return buffer.getvalue()


def frame_sha256(frame: pl.DataFrame) -> str:
    """Of a frame's columns and rows in their order."""
    return hashlib.sha256(parquet_bytes(frame)).hexdigest()


def write_frames(frames: Iterable[pl.DataFrame], file: IO[bytes]) -> tuple[int, pl.Schema]:
    """Write frames one below the other; row groups depend on the columns alone.

    Returns:
        Rows written, and the columns.

    Raises:
        ValueError: no frame, or frames of unlike columns.
    """
    import pyarrow.parquet as pq

    held: list[pl.DataFrame] = []
    rows, schema, writer = 0, None, None
    try:
        for frame in frames:
            if schema is None:
                schema, size = frame.schema, _row_group(frame.schema)
                arrow = _arrow(frame.clear())
                # statistics of vectors say nothing and a dictionary of them saves nothing
                plain = [n for n, dtype in schema.items() if not isinstance(dtype, pl.Array)]
                writer = pq.ParquetWriter(
                    file,
                    arrow.schema,
                    compression="zstd",
                    compression_level=3,
                    use_dictionary=plain,
                    write_statistics=plain,
                )
            elif frame.schema != schema:
                raise ValueError(
                    f"frames of one partition must have the same columns, got {dict(schema)} and "
                    f"{dict(frame.schema)}"
                )
            rows += frame.height
            held.append(frame)
            while writer and sum(part.height for part in held) >= size:
                joined = pl.concat(held)
                writer.write_table(_arrow(joined.head(size)), row_group_size=size)
                held = [joined.slice(size)]
        if writer is None or schema is None:
            raise ValueError("a partition needs at least one frame, if without rows")
        rest = pl.concat(held)
        if rest.height:
            writer.write_table(_arrow(rest), row_group_size=size)
    finally:
        if writer:
            writer.close()
    return rows, schema


def read_frames(file: IO[bytes], *, columns: list[str] | None = None) -> Iterator[pl.DataFrame]:
    """One frame a row group."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    # not read ahead: a row group is in memory when it is asked for
    with pq.ParquetFile(file, pre_buffer=False) as parquet:
        for group in range(parquet.num_row_groups):
            yield pl.DataFrame(parquet.read_row_group(group, columns=columns, use_threads=False))
    pa.default_memory_pool().release_unused()


def _row_group(schema: pl.Schema) -> int:
    bytes_a_row = sum(4 * dtype.size for dtype in schema.values() if isinstance(dtype, pl.Array))
    return ROW_GROUP if bytes_a_row == 0 else max(1, min(ROW_GROUP, VECTOR_BYTES // bytes_a_row))


def _arrow(frame: pl.DataFrame) -> "pa.Table":
    # polars' own string view is younger than many readers of Parquet files
    return frame.rechunk().to_arrow(compat_level=pl.CompatLevel.oldest())
