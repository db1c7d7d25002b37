"""Reads the Parquet files of a data directory with pyarrow and with DuckDB and prints the rows of
the parquet story as JSON, in order of time. Neither knows anything of the server."""

import glob
import json
import os
import sys

import duckdb
import pyarrow.dataset as ds

QUERIES = {
    "metrics": """
        SELECT epoch_ms(timestamp) AS at, metric, labels::JSON ->> 'zone' AS zone,
               coalesce(value_double, value_digits / pow(10, value_scale)) AS value
        FROM rows WHERE metric = 'parquet_rows' ORDER BY timestamp""",
    "logs": """
        SELECT epoch_ns(timestamp) AS at, body, service, attributes::JSON ->> '$."http.method"' AS method,
               resource::JSON ->> 'worker' AS worker, severity_number
        FROM rows ORDER BY timestamp""",
    "spans": """
        SELECT epoch_ns(start_time) AS at, name, service, duration_ns, trace_id, span_id
        FROM rows ORDER BY start_time""",
}


def with_duckdb(folder, signal):
    """Rows as a dictionary each, from one SQL query over all files."""
    connection = duckdb.connect()
    files = os.path.join(folder, signal, "**", "*.parquet")
    connection.execute(
        f"CREATE VIEW rows AS SELECT * FROM read_parquet('{files}', hive_partitioning = true, union_by_name = true)"
    )
    result = connection.execute(QUERIES[signal])
    names = [column[0] for column in result.description]
    return [dict(zip(names, row)) for row in result.fetchall()]


def with_pyarrow(folder, signal):
    """The same rows from pyarrow's own reader, picked and sorted here."""
    table = ds.dataset(os.path.join(folder, signal), format="parquet", partitioning="hive").to_table()
    time_column = "start_time" if signal == "spans" else "timestamp"
    # Python's datetime stops at microseconds, so the times come as integers.
    times = table.column(time_column).cast("int64").to_pylist()
    columns = {name: table.column(name).to_pylist() for name in COLUMNS[signal]}
    rows = [{name: values[index] for name, values in columns.items()} for index in range(len(times))]
    picked = [{"at": at} | PICK[signal](row) for at, row in zip(times, rows) if wanted(signal, row)]
    return sorted(picked, key=lambda row: row["at"])


COLUMNS = {
    "metrics": ("metric", "value_digits", "value_scale", "value_double", "labels"),
    "logs": ("body", "service", "attributes", "resource", "severity_number"),
    "spans": ("name", "service", "duration_ns", "trace_id", "span_id"),
}


def wanted(signal, row):
    """The server's metrics about itself are in the same folder."""
    return signal != "metrics" or row["metric"] == "parquet_rows"


def value_of(row):
    """A value is a decimal wherever it is the same double."""
    return row["value_double"] if row["value_digits"] is None else row["value_digits"] / 10 ** row["value_scale"]


PICK = {
    "metrics": lambda row: {
        "metric": row["metric"],
        "value": value_of(row),
        "zone": json.loads(row["labels"])["zone"],
    },
    "logs": lambda row: {
        "body": row["body"],
        "service": row["service"],
        "method": json.loads(row["attributes"])["http.method"],
        "worker": json.loads(row["resource"])["worker"],
        "severity_number": row["severity_number"],
    },
    "spans": lambda row: row,
}


def partitions(folder):
    """The commons whose own telemetry is there, from the folders' names alone."""
    found = {
        part.removeprefix("commons=")
        for path in glob.glob(os.path.join(folder, "*", "commons=*"))
        for part in [os.path.basename(path)]
    }
    return sorted(name for name in found if not name.startswith("_"))


def main():
    folder = os.path.join(sys.argv[1], "parquet")
    readers = {"duckdb": with_duckdb, "pyarrow": with_pyarrow}
    read = {name: {signal: reader(folder, signal) for signal in QUERIES} for name, reader in readers.items()}
    json.dump(read | {"partitions": partitions(folder)}, sys.stdout)


if __name__ == "__main__":
    main()
