#!/usr/bin/env python3
"""Reads the Parquet tables with DuckDB: which tests are the noisiest?

    python3 examples/read_with_duckdb.py datasets/demo/parquet
"""

import sys

import duckdb

folder = sys.argv[1] if len(sys.argv) > 1 else "datasets/demo/parquet"
session = duckdb.connect()
for table in ["data", "signatures", "alert_summaries", "alerts", "jobs", "revisions", "sig_groups"]:
    session.execute(f"CREATE VIEW {table} AS SELECT * FROM read_parquet('{folder}/{table}.parquet')")

# DuckDB reads only the columns that a query names.
print(
    session.sql("""
        SELECT s.id, s.suite, s.test, s.machine_platform, count(*) AS num_data,
               round(100 * stddev_pop(d.value) / abs(avg(d.value)), 1) AS deviation_pct
        FROM data d JOIN signatures s ON s.id = d.signature_id
        WHERE d.value IS NOT NULL
        GROUP BY ALL HAVING count(*) >= 10 AND avg(d.value) <> 0  -- values around 0 have no relative deviation
        ORDER BY deviation_pct DESC, s.id LIMIT 5
    """)
)
print("Alerts by signature, with the push of each:")
print(
    session.sql("""
        SELECT a.signature_id, m.revision, m.push_timestamp, a.amount_pct, a.is_regression, m.bug_number
        FROM alerts a JOIN alert_summaries m ON m.id = a.alert_summary_id
        WHERE NOT a.related AND a.signature_id IS NOT NULL
        ORDER BY a.signature_id, m.push_timestamp LIMIT 5
    """)
)
