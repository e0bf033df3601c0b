"""A small study on disk as the lab leaves it: three arms, every kind of task, with known effects."""

import json
from collections.abc import Callable, Collection
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from analysis import after_pretraining

from vocablab.analysis.claims import Benefit, NoHarm
from vocablab.base.config import to_json
from vocablab.base.records import Record

ARMS = {
    "control": "Plain text; no fact token.",
    "mul_facts": "45 tokens such as <MUL_6_9_54> replace correct products.",
    "sham": "45 tokens at the same sites, without content.",
}
FACTS = [f"<MUL_{a}_{b}_{a * b}>" for a in range(2, 10) for b in range(a, 10)]
TOKENS = {"control": [], "mul_facts": FACTS, "sham": [f"<SHAM_{i:02d}>" for i in range(len(FACTS))]}
STAGES = ("prepare", "pretrain", "export", "sft", "rl", "evaluate")
HOSTILE = "</script><script>document.title='owned'</script><img src=x onerror=alert(1)> The answer is 7."


def _counts(stage: str, arm: str, seed: int) -> dict[str, Any]:
    """What the record of a stage counts beside its gates."""
    if stage == "prepare":
        exposures = {name: 40 + 13 * place + seed for place, name in enumerate(TOKENS[arm])}
        train = {"documents": 900, "raw_bytes": 2_000_000, "tokens": 512_000, "documents_sha256": f"{seed}" * 64}
        counts: dict[str, Any] = {"train": train, "exposures": exposures, "dose": sum(exposures.values()) / 512_000}
        return counts | {"dropped": {"empty": 2, "leak: arithmetic": seed}, "note": "a <b>"}
    if stage == "pretrain":
        flops = {"blocks": 6.0e12, "attention": 1.0e12, "head": 1.0e12}
        more = {"flops": flops, "head_share_of_flops": 0.125, "epochs": 1.5, "precision": "float32"}
        return {"source_bytes": 2_000_000, "tokens": 512_000 - 2_000 * (arm == "mul_facts")} | more
    if stage == "sft":
        return after_pretraining.sft_counts(arm, seed, TOKENS[arm])
    return after_pretraining.rl_counts(arm, seed) if stage == "rl" else {}


def _record(stage: str, arm: str, seed: int, gates: list[dict[str, Any]]) -> Record:
    return Record(
        stage=stage,
        fingerprint=f"{stage}{arm}{seed}".encode().hex().ljust(64, "0")[:64],
        identity={"arm": arm, "seed": seed},
        inputs={},
        files={"data.bin": {"bytes": 12345, "sha256": "0" * 64}},
        counts={"gates": gates, **_counts(stage, arm, seed)},
        wall_seconds=12.5 + seed,
        status="complete",
        finished="2026-01-02T03:04:05+00:00",
        versions={"python": "3.12.1", "torch": "2.9.0"},
        git={"commit": "abc1234def", "dirty": True},
        hardware={"machine": "x86_64", "cores": 8, "device": "cpu"},
    )


def decodings_of(arm: str, fits: bool) -> list[str]:
    """The ways in which an arm answers an item: only tokens that have a place can be forced."""
    ways = ["free", "banned"]
    if fits:
        ways += ["counterfactual"] if arm == "control" else ["forced", "counterfactual"]
    return ways


def score_rows(arm: str, seed: int, gain: float, n_items: int = 40) -> list[dict[str, Any]]:
    """Rows of one run; `gain` is the treatment's added chance of a right answer."""
    rng = np.random.default_rng([seed, len(arm)])
    difficulty = np.random.default_rng(7).random(n_items)
    rows: list[dict[str, Any]] = []

    def row(task: str, split: str, item: str, metric: str, **extra: Any) -> None:
        base = {"run_id": f"{arm}/{seed}", "task": task, "item_id": item, "cluster_id": item, "split": split}
        base |= {
            "metric": metric,
            "score": float("nan"),
            "gold_bits": float("nan"),
            "raw_bytes": 20,
            "n_tokens": 9,
        }
        base |= {"prompt": "", "output": "", "extracted": "", "ended_eos": True, "extractor_version": "1"}
        base |= {
            "mode": "",
            "decoding": "",
            "acc": None,
            "acc_flexible": None,
            "acc_norm": None,
            "reliance": None,
            "recomputed": None,
            "n_fact_tokens": 0,
            "n_fact_right": 0,
        }
        rows.append(base | {"fact_fits": False} | extra)

    for split in ("heldout", "seen"):
        for i in range(n_items):
            # Every fifth item is beyond the table: no token has a place in it.
            fits = i % 5 != 4
            a, b = (i % 8 + 2, i % 7 + 2) if fits else (i % 8 + 12, i % 7 + 2)
            small, large = min(a, b), max(a, b)
            right = rng.random() < np.clip(0.75 - 0.7 * difficulty[i] + gain, 0, 1)
            token = {"control": "", "mul_facts": f" <MUL_{small}_{large}_{a * b}>.", "sham": " <SHAM_07>."}[arm]
            bits = float(30 + 10 * difficulty[i] - 12 * gain + rng.normal(0, 1) + 0.3 * np.sin(seed))
            asked = {
                "cluster_id": f"MUL:{small},{large}={a * b}", "gold_bits": bits, "raw_bytes": 30 + i % 5,
                "prompt": f"Question: A shop has {a} bags of {b} apples. How many apples?\nAnswer:",
                "fact_fits": fits and arm != "control", "prompt_cut": i == 1, "ended_eos": i != 2,
            }  # fmt: skip
            for decoding in decodings_of(arm, fits):
                correct = right if decoding in ("free", "forced") else right and i % 3 > 0
                answer = a * b if correct else a * b + 1
                said = token if decoding != "banned" else ""
                score: dict[str, Any] = {"score": float(correct), "acc": float(correct), "acc_flexible": float(correct)}
                metric = "acc"
                if decoding == "counterfactual":
                    metric, score = "reliance", {"reliance": float(i % 2), "recomputed": float(i % 2 == 0)}
                    score["score"] = score["reliance"]
                output = HOSTILE if i == 0 else f" {a} bags of {b} make{said} The answer is {answer}."
                row(
                    "arithmetic", split, f"{split}-{i}", metric, **asked, **score, decoding=decoding, output=output,
                    extracted=str(answer), n_fact_tokens=int(bool(said)), n_fact_right=int("MUL" in said),
                )  # fmt: skip
    for i in range(n_items):
        right = float(rng.random() < 0.35 + 0.2 * (difficulty[i] > 0.5))
        row("hellaswag", "validation", f"h{i}", "acc_norm", score=right, mode="harness", acc=right, acc_norm=right)
        for mode in ("native", "plain", "outside"):
            bits = float(900 + 50 * difficulty[i] + rng.normal(0, 3))
            row("text", "fineweb", f"t{i}", "bits_per_byte", gold_bits=bits, raw_bytes=800 + i, mode=mode)
    return rows


def write_study(
    directory: Path,
    *,
    n_seeds: int = 3,
    gain: float = 0.25,
    exploratory: str | None = None,
    n_items: int = 40,
    rewarded: Collection[str] = (),
) -> Path:
    """Write a whole study into `directory`; the arms `rewarded` were trained by reward, too."""
    stages = {arm: [stage for stage in STAGES if stage != "rl" or arm in rewarded] for arm in ARMS}
    study = {
        "name": "mul-facts", "title": "Do fact tokens for one-digit products help?", "preset": "cpu",
        "docstring": "Hypothesis: one token per fact shortens the path to the answer.\n\nCost: minutes.",
        "control": "control", "treatment": "mul_facts", "seeds": list(range(n_seeds)),
        "exploratory": exploratory,
        "arms": [{"name": name, "description": text, "stages": stages[name]} for name, text in ARMS.items()],
        "claims": [
            to_json(Benefit("arithmetic.heldout", "gold_bits_per_byte", delta=0.02)),
            to_json(NoHarm("hellaswag", "acc_norm", margin=0.05)),
        ],
        "plan": {
            "claims": [
                {"target": "arithmetic.heldout", "metric": "gold_bits_per_byte", "minimum_detectable_effect": 0.031},
                {"target": "hellaswag", "metric": "acc_norm", "minimum_detectable_effect": 0.047},
            ]
        },
    }  # fmt: skip
    directory.mkdir(parents=True, exist_ok=True)
    (directory / "study.json").write_text(json.dumps(study))
    for arm in ARMS:
        for seed in range(n_seeds):
            place = directory / arm / f"seed{seed}"
            for number, stage in enumerate(stages[arm]):
                gate = {
                    "rule": number + 1,
                    "name": f"{stage} is whole",
                    "passed": True,
                    "detail": "12 of 12 checks",
                }
                (place / stage).mkdir(parents=True)
                _record(stage, arm, seed, [gate]).write(place / stage)
            _write_metrics(place, arm, seed)
            rows = score_rows(arm, seed, gain if arm == "mul_facts" else 0.0, n_items)
            pq.write_table(pa.Table.from_pylist(rows), place / "evaluate" / "scores.parquet")
    return directory


def _write_metrics(place: Path, arm: str, seed: int) -> None:
    rng = np.random.default_rng([seed, 3 * len(arm)])
    lines = []
    for step in range(1, 81):
        loss = 1.1 + 5 / (1 + 0.2 * step) - 0.03 * (arm == "mul_facts")
        line = {"step": step, "tokens": step * 8192, "source_bytes": step * 33_000, "learning_rate": 1e-3}
        line["train_bits_per_byte"] = loss + rng.normal(0, 0.03)
        if step % 10 == 0:
            line["val_bits_per_byte"] = loss + 0.02 + rng.normal(0, 0.005)
        lines.append(json.dumps(line))
    (place / "pretrain" / "metrics.jsonl").write_text("\n".join(lines) + "\n")
    after = {"sft": after_pretraining.sft_lines, "rl": after_pretraining.rl_lines}
    for stage, lines_of in after.items():
        if (place / stage).is_dir():
            text = "".join(json.dumps(line) + "\n" for line in lines_of(arm, seed))
            (place / stage / "metrics.jsonl").write_text(text)


@pytest.fixture
def make_study(tmp_path: Path) -> Callable[..., Path]:
    """A function that writes a study under the test's own directory."""
    return lambda **options: write_study(tmp_path / "study", **options)
