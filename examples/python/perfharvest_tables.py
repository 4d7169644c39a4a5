"""Reads the Parquet tables of perfharvest with pandas, polars or DuckDB.

    tables = "datasets/demo/parquet"                  # made by `perfharvest export --format parquet`
    read_signature(tables, 5400037)                   # a pandas frame with one row per datum
    read_signature(tables, 5400037, engine="polars")  # the same rows as a polars frame
    read_alert(tables, 1240100).after                 # the data since the push that an alert blames

Copy this file into your project; it needs no other file. https://github.com/perfharvest/perfharvest describes the tables.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import pandas as pd

COLUMNS = ["id", "push_id", "push_timestamp", "revision", "job_id", "machine_name", "value"]
"""Columns of a signature's frame, beside `replicates`."""


@dataclass(frozen=True)
class AlertSeries:
    """An alert, and the data of its signature before and after the push that it blames."""

    alert: dict[str, Any]
    """The row of `alerts`."""
    summary: dict[str, Any]
    """The row of `alert_summaries`, with the push."""
    before: pd.DataFrame
    """Data of pushes before the blamed one."""
    after: pd.DataFrame
    """Data of the blamed push, and of those after it."""


def read_signature(tables: str | Path, signature_id: int, engine: str = "pandas") -> Any:
    """Returns one row per datum of a signature, in the order of the pushes.

    The frame has `COLUMNS`, and `replicates`: the list of the single measurements of which `value` is the summary. The list
    is null if the datum has none, or if the export has no table `replicates`. Only the part of the files that may hold the
    signature is read. `engine` is "pandas", "polars" or "duckdb"; the last returns a DuckDB relation.
    """
    readers = {"pandas": _with_pandas, "polars": _with_polars, "duckdb": _with_duckdb}
    if engine not in readers:
        raise ValueError(f'unknown engine "{engine}": use one of {", ".join(readers)}')
    return readers[engine](Path(tables), int(signature_id))


def read_alert(tables: str | Path, alert_id: int, days: float = 14) -> AlertSeries:
    """Returns an alert with the data of its signature, up to `days` before and after the blamed push.

    Raises `LookupError` if the table has no such alert, or if the alert has no push or no signature with data: then it is of
    another repository, or its signature is not in the scope of the crawl.
    """
    import pandas as pd

    # An alert that was reassigned is also listed by the summary that it was reassigned to.
    alert = _row(Path(tables), "alerts", [("id", "==", int(alert_id)), ("related", "==", False)])
    summary = _row(Path(tables), "alert_summaries", [("id", "==", alert["alert_summary_id"])])
    blamed, signature_id = summary["push_timestamp"], alert["signature_id"]
    if blamed is None or signature_id is None:
        raise LookupError(f"alert {alert_id} has no {'push' if blamed is None else 'signature'}")
    data = _with_pandas(Path(tables), signature_id)
    if data.empty:
        raise LookupError(
            f"signature {signature_id} of alert {alert_id} has no data: it is of another repository "
            f"(this summary: {summary['repository']}), or not in the scope of the crawl"
        )
    near = data[(data["push_timestamp"] - blamed).abs() <= pd.Timedelta(days=days)]
    is_after = near["push_timestamp"] >= blamed
    return AlertSeries(alert, summary, near[~is_after].reset_index(drop=True), near[is_after].reset_index(drop=True))


def _place(tables: Path, name: str) -> Path | None:
    """Returns the file of a table, or the folder of a table in several files; None if there is neither."""
    places = [tables / f"{name}.parquet", tables / name]
    return next((place for place in places if place.exists()), None)


def _required(tables: Path, name: str) -> Path:
    place = _place(tables, name)
    if place is None:
        raise FileNotFoundError(f"{tables} has no table {name}; `perfharvest export --format parquet` makes it")
    return place


def _row(tables: Path, name: str, filters: list[tuple[str, str, Any]]) -> dict[str, Any]:
    """Returns the only row of a table that passes the filters; nulls are None."""
    import pyarrow.parquet as pq

    rows = pq.read_table(_required(tables, name), filters=filters).to_pylist()
    if not rows:
        raise LookupError(f"{name}: no row with {' and '.join(f'{column} = {value}' for column, _, value in filters)}")
    return rows[0]


def _with_pandas(tables: Path, signature_id: int) -> pd.DataFrame:
    import pandas as pd

    def read(place: Path, columns: list[str]) -> pd.DataFrame:
        # pyarrow's types keep ids that may be null as integers. The filter skips the row groups of other signatures.
        only = [("signature_id", "==", signature_id)]
        return pd.read_parquet(place, columns=columns, filters=only, dtype_backend="pyarrow")

    data = read(_required(tables, "data"), COLUMNS)
    data = data.sort_values(["push_timestamp", "push_id", "job_id", "id"], ignore_index=True)
    place = _place(tables, "replicates")
    if place is None:
        return data.assign(replicates=None)
    replicates = read(place, ["datum_id", "ordinal", "value"]).sort_values(["datum_id", "ordinal"])
    lists = replicates.groupby("datum_id")["value"].agg(list)
    found = data["id"].map(lists)
    return data.assign(replicates=found.astype(object).where(found.notna(), None))


def _with_polars(tables: Path, signature_id: int) -> Any:
    import polars as pl

    def scan(place: Path) -> pl.LazyFrame:
        files = place if place.is_file() else place / "**/*.parquet"
        return pl.scan_parquet(files).filter(pl.col("signature_id") == signature_id)

    data = scan(_required(tables, "data")).select(COLUMNS)
    place = _place(tables, "replicates")
    if place is None:
        data = data.with_columns(replicates=pl.lit(None, dtype=pl.List(pl.Float64)))
    else:
        lists = scan(place).sort("ordinal").group_by("datum_id", maintain_order=True).agg(replicates=pl.col("value"))
        data = data.join(lists, left_on="id", right_on="datum_id", how="left")
    return data.sort("push_timestamp", "push_id", "job_id", "id", nulls_last=True).collect()


def _with_duckdb(tables: Path, signature_id: int) -> Any:
    import duckdb

    def files(place: Path) -> str:
        return str(place if place.is_file() else place / "**/*.parquet")

    parameters = {"data": files(_required(tables, "data")), "signature": signature_id}
    lists = "SELECT NULL::BIGINT AS datum_id, NULL::DOUBLE[] AS replicates"
    place = _place(tables, "replicates")
    if place is not None:
        parameters["replicates"] = files(place)
        lists = """SELECT datum_id, list(value ORDER BY ordinal) AS replicates FROM read_parquet($replicates)
                   WHERE signature_id = $signature GROUP BY datum_id"""
    session = duckdb.connect()
    session.execute("SET TimeZone = 'UTC'")
    return session.sql(
        f"""SELECT {", ".join(COLUMNS)}, replicates
            FROM read_parquet($data) LEFT JOIN ({lists}) ON datum_id = id
            WHERE signature_id = $signature
            ORDER BY push_timestamp, push_id, job_id NULLS LAST, id""",
        params=parameters,
    )
