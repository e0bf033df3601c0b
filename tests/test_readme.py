"""The README's commands are the project's: they exist, and its tree lists every module."""

import re
import subprocess
from pathlib import Path

import pytest

from vocablab.lab.catalog import built_in_names
from vocablab.lab.cli import app

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text(encoding="utf-8")


def test_make_knows_the_two_commands() -> None:
    for target in re.findall(r"^make (\w+)", README, flags=re.M):
        done = subprocess.run(["make", "-n", target], cwd=ROOT, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("command", sorted(set(re.findall(r"(?:^|\| |`)vocablab ([a-z]+)", README, flags=re.M))))
def test_every_command_exists(command: str) -> None:
    names = {c.name or (c.callback.__name__ if c.callback else "") for c in app.registered_commands}
    names |= {str(group.name) for group in app.registered_groups}
    assert command in names


def test_every_study_named_exists() -> None:
    for name in re.findall(r"vocablab (?:run|plan|report) (\w[\w-]*)", README):
        assert name in built_in_names()


def test_the_tree_lists_every_module() -> None:
    for path in (ROOT / "src/vocablab").rglob("*.py"):
        if path.name != "__init__.py":
            assert path.name in README, f"README's map lacks {path.relative_to(ROOT)}"
