"""Looks into the bucket `telemetry` as strangers do, and prints JSON: boto3 lists the objects and the
uploads that were not ended; pyarrow reads the Parquet files where they are, by their folders' names."""

import json
import sys

import boto3
import pyarrow.dataset as ds
from pyarrow.fs import S3FileSystem


def value_of(row):
    """A value is a decimal wherever it is the same double."""
    return row["value_double"] if row["value_digits"] is None else row["value_digits"] / 10 ** row["value_scale"]


def main():
    port, key, secret = sys.argv[1:4]
    endpoint = f"127.0.0.1:{port}"
    s3 = boto3.client(
        "s3",
        endpoint_url=f"http://{endpoint}",
        region_name="us-east-1",
        aws_access_key_id=key,
        aws_secret_access_key=secret,
    )
    pages = s3.get_paginator("list_objects_v2").paginate(Bucket="telemetry")
    objects = {one["Key"]: one["Size"] for page in pages for one in page.get("Contents", [])}
    uploads = s3.list_multipart_uploads(Bucket="telemetry").get("Uploads", [])
    files = S3FileSystem(
        access_key=key, secret_key=secret, endpoint_override=endpoint, scheme="http", region="us-east-1"
    )
    folder = "telemetry/prod/parquet/metrics"
    table = ds.dataset(folder, filesystem=files, format="parquet", partitioning="hive").to_table(
        columns=["metric", "value_digits", "value_scale", "value_double", "commons"]
    )
    rows = [row for row in table.to_pylist() if row["metric"] == "stored_total"]
    answer = {
        "objects": objects,
        "uploads": [one["Key"] for one in uploads],
        "n": len(rows),
        "sum": sum(value_of(row) for row in rows),
        "commons": sorted({row["commons"] for row in rows}),
    }
    json.dump(answer, sys.stdout)


if __name__ == "__main__":
    main()
