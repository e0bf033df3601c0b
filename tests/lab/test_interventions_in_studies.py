"""Every kind of intervention goes through a whole study: corpus, training, export, fine-tuning, evaluation."""

import json
from pathlib import Path

import pyarrow.parquet as pq
from support.shell import vocablab


def test_every_kind_of_intervention_can_be_studied(tmp_path: Path) -> None:
    done = vocablab(
        "run",
        str(Path(__file__).with_name("many_arms_study.py")),
        "--runs",
        str(tmp_path),
        "--jobs",
        "2",
        "--device",
        "cpu",
    )
    assert done.returncode == 0, done.stderr.decode()[-3000:]
    records = [json.loads(path.read_text()) for path in tmp_path.glob("many-arms/*/seed0/*/record.json")]
    assert len(records) == 15 * 5
    assert all(gate["passed"] for record in records for gate in record["counts"].get("gates", []))
    scores = [pq.read_table(path).to_pylist() for path in sorted(tmp_path.glob("many-arms/*/seed0/evaluate/*.parquet"))]
    assert len(scores) == 15
    items = [{(row["task"], row["item_id"], row["raw_bytes"]) for row in rows} for rows in scores]
    assert all(one == items[0] for one in items)
