"""`vocablab doctor`: can this machine run a study? Checked before any long job."""

import os
import shutil
from dataclasses import dataclass
from pathlib import Path

from vocablab.base.errors import UserError
from vocablab.base.records import package_versions

KNOWN_DATA = ("gsm8k/train.jsonl", "gsm8k/test.jsonl", "hellaswag/hellaswag_val.jsonl", "openstax")
"""What the built-in studies can use, under a data directory."""
NEEDED_GIGABYTES = 2.0
"""Free disk space below which the quickstart may not fit."""


@dataclass(frozen=True)
class Check:
    """One thing looked at."""

    name: str
    """What."""
    passed: bool
    """Whether a study can run in spite of it."""
    detail: str
    """What was found."""


def examine(data: Path | None, runs: Path) -> list[Check]:
    """All checks, in the order a person would make them."""
    versions = package_versions()
    wanted = [name for name, version in versions.items() if version == "absent"]
    checks = [
        Check("python", True, versions["python"]),
        Check("packages", not wanted, f"absent: {', '.join(wanted)}" if wanted else _list(versions)),
        Check("cores", True, str(os.cpu_count())),
        _memory(),
        _device(),
        _disk(runs),
        _gpt2_vocabulary(),
        _data(data),
    ]
    return checks


def _list(versions: dict[str, str]) -> str:
    return ", ".join(f"{name} {version}" for name, version in versions.items() if name != "python")


def _memory() -> Check:
    gigabytes = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 1e9
    return Check("memory", gigabytes >= 4, f"{gigabytes:.1f} GB (the quickstart needs 4)")


def _device() -> Check:
    import torch

    if torch.cuda.is_available():
        return Check("accelerator", True, torch.cuda.get_device_name(0))
    return Check("accelerator", True, "none: the cpu presets will do")


def _disk(runs: Path) -> Check:
    place = runs if runs.exists() else Path()
    free = shutil.disk_usage(place).free / 1e9
    return Check("disk", free >= NEEDED_GIGABYTES, f"{free:.1f} GB free for {runs}")


def _gpt2_vocabulary() -> Check:
    from vocablab.vocab.vocabulary import gpt2_base

    try:
        return Check("GPT-2 vocabulary", True, f"{gpt2_base().get_vocab_size()} tokens, checksums right")
    except UserError as error:
        return Check("GPT-2 vocabulary", False, str(error))


def _data(data: Path | None) -> Check:
    if data is None:
        return Check("data", True, "no --data and no VOCABLAB_DATA: data sets come from the Hugging Face hub")
    found = [name for name in KNOWN_DATA if (data / name).exists()]
    missing = [name for name in KNOWN_DATA if name not in found]
    detail = f"{data}: found {', '.join(found) or 'nothing'}"
    return Check("data", True, detail + (f"; missing {', '.join(missing)}" if missing else ""))
