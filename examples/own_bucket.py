"""The asset graph on your own bucket, of any S3 service, and its result read back with DuckDB.

AWS_ENDPOINT_URL=https://minio.example.org python examples/own_bucket.py my-bucket notes.csv

Credentials and region are taken as every AWS tool takes them; without AWS_ENDPOINT_URL the bucket
is Amazon's. The file goes to `inbox/`, every table to `smotext/`, both in the bucket; the warehouse
is a DuckDB file on this machine. Run it twice: the second time nothing is decoded.
"""

import argparse
import os
import sys
from pathlib import Path

import boto3
import duckdb


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("bucket")
    parser.add_argument("corpus", type=Path, help="with columns text and label")
    parser.add_argument("--run", default="first", help="the key of the run")
    parser.add_argument("--home", type=Path, default=Path(".smotext"), help="of the warehouse")
    given, options = parser.parse_known_args()  # the others are those of `smotext run`

    source = f"inbox/{given.corpus.name}"
    s3 = boto3.client("s3", endpoint_url=os.environ.get("AWS_ENDPOINT_URL"))
    s3.upload_file(str(given.corpus), given.bucket, source)
    os.environ["SMOTEXT_STORE"] = f"s3://{given.bucket}/smotext"
    os.environ["SMOTEXT_HOME"] = str(given.home)

    from smotext_assets.cli import main as smotext  # reads the environment that is set above

    status = smotext(["run", f"s3://{given.bucket}/{source}", "--run", given.run, *options])
    if status:
        return status
    with duckdb.connect(given.home / "warehouse.duckdb", read_only=True) as warehouse:
        made = warehouse.execute(
            """
            SELECT s.label, count(DISTINCT s.sample_id), count(DISTINCT l.parent_id)
            FROM synthetic_texts s JOIN lineage l USING (sample_id)
            WHERE s.run = ? GROUP BY ALL ORDER BY ALL
            """,
            [given.run],
        )
        for label, texts, parents in made.fetchall():
            print(f"{label}: {texts} new texts of {parents} parents")
    return 0


if __name__ == "__main__":
    sys.exit(main())
