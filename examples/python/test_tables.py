"""Tests of the reader, over the tables of the demo.

pytest examples/python --tables datasets/demo/parquet --artifacts datasets/demo
"""

import json
import subprocess
import sys
from datetime import datetime
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from perfharvest_tables import COLUMNS, read_alert, read_signature

ENGINES = ["pandas", "polars", "duckdb"]


def rows(tables, signature_id, engine):
    """Converts a frame of any engine to plain Python values."""
    frame = read_signature(tables, signature_id, engine)
    if engine == "pandas":
        frame = pa.Table.from_pandas(frame, preserve_index=False)
    else:
        frame = frame.to_arrow() if engine == "polars" else frame.to_arrow_table()
    assert frame.column_names == [*COLUMNS, "replicates"]
    return frame.to_pylist()


def alerts_with_data(tables):
    """Returns the ids of the alerts whose signature has data."""
    present = set(pq.read_table(tables / "data.parquet", columns=["signature_id"])["signature_id"].to_pylist())
    found = pq.read_table(tables / "alerts.parquet", columns=["id", "signature_id", "related"]).to_pylist()
    return [row["id"] for row in found if not row["related"] and row["signature_id"] in present]


@pytest.mark.parametrize("engine", ENGINES)
def test_a_signature_has_the_data_of_the_artifact(tables, artifacts, engine):
    compared = 0
    with open(artifacts / "perf_jobs_by_signature.jsonl", encoding="utf-8") as lines:
        for record in map(json.loads, list(lines)[::10]):
            found = rows(tables, record["signature_id"], engine)
            keys = ["id", "push_id", "revision", "job_id", "machine_name", "value"]
            assert [[row[key] for key in keys] for row in found] == [[job.get(key) for key in keys] for job in record["jobs"]]
            times = [datetime.fromisoformat(f"{job['push_timestamp']}+00:00") for job in record["jobs"]]
            assert [row["push_timestamp"] for row in found] == times
            compared += len(found)
    assert compared > 0


def test_replicates_are_lists_in_the_order_of_their_ordinals(tables, tmp_path):
    (tmp_path / "data.parquet").symlink_to((tables / "data.parquet").resolve())
    first = pq.read_table(tables / "data.parquet", columns=["signature_id"])["signature_id"][0].as_py()
    first_id, second_id, *_ = [row["id"] for row in rows(tables, first, "pandas")]
    made = {
        "signature_id": [first, first, first, first, first + 1],
        "datum_id": [second_id, first_id, first_id, first_id, first_id],
        "ordinal": [0, 2, 0, 1, 3],
        "value": [4.0, 3.5, 1.0, 2.0, 9.0],
    }
    pq.write_table(pa.table(made), tmp_path / "replicates.parquet")
    for engine in ENGINES:
        found = {row["id"]: row["replicates"] for row in rows(tmp_path, first, engine)}
        assert (found.pop(first_id), found.pop(second_id)) == ([1.0, 2.0, 3.5], [4.0]), engine
        assert len(found) > 0 and set(found.values()) == {None}, engine


def test_a_table_in_several_files_reads_like_one(tables, tmp_path):
    whole = pq.read_table(tables / "data.parquet")
    for number, month in enumerate(["month=2026-07", "month=2026-08"]):
        (tmp_path / "data" / month).mkdir(parents=True)
        half = whole.num_rows // 2
        part = whole.slice(0, half) if number == 0 else whole.slice(half)
        pq.write_table(part, tmp_path / "data" / month / "part-0.parquet")
    for signature in sorted(set(whole["signature_id"].to_pylist()))[::20]:
        for engine in ENGINES:
            assert rows(tmp_path, signature, engine) == rows(tables, signature, engine), engine


def test_an_alert_has_the_data_on_both_sides_of_its_push(tables):
    sides = 0
    for alert in alerts_with_data(tables):
        series = read_alert(tables, alert, days=30)
        blamed = series.summary["push_timestamp"]
        assert all(series.before["push_timestamp"] < blamed)
        assert all(series.after["push_timestamp"] >= blamed)
        whole = read_signature(tables, series.alert["signature_id"])
        near = [at for at in whole["push_timestamp"] if abs((at - blamed).total_seconds()) <= 30 * 86400]
        assert len(near) == len(series.before) + len(series.after)
        sides += bool(len(series.before)) and bool(len(series.after))
    assert sides > 0


def test_a_wrong_question_says_why(tables, tmp_path):
    with pytest.raises(LookupError, match="alerts: no row with id = 1 "):
        read_alert(tables, 1)
    with pytest.raises(ValueError, match='unknown engine "panda"'):
        read_signature(tables, 1, "panda")
    with pytest.raises(FileNotFoundError, match="has no table data"):
        read_signature(tmp_path, 1)
    for engine in ENGINES:
        assert rows(tables, 1, engine) == [], engine


@pytest.mark.parametrize("engine", ENGINES)
def test_the_short_scripts_run_also_where_all_values_are_zero(tables, tmp_path, engine):
    for file in tables.glob("*.parquet"):
        if file.name != "data.parquet":
            (tmp_path / file.name).symlink_to(file.resolve())
    data = pq.read_table(tables / "data.parquet")
    zeros = pa.array([0.0] * data.num_rows)
    place = data.column_names.index("value")
    pq.write_table(data.set_column(place, data.schema.field(place), zeros), tmp_path / "data.parquet")
    for folder in [tables, tmp_path]:
        script = Path(__file__).parent.parent / f"read_with_{engine}.py"
        assert subprocess.run([sys.executable, script, folder], check=True, capture_output=True).stdout


def test_plots_are_pictures(tables, tmp_path):
    script = Path(__file__).with_name("plot_alert.py")
    for alert in alerts_with_data(tables)[:2]:
        picture = tmp_path / f"{alert}.png"
        subprocess.run([sys.executable, script, tables, str(alert), picture], check=True)
        assert picture.read_bytes().startswith(b"\x89PNG")
