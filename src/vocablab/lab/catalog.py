"""Finding studies: the built-in ones by name, a user's own by path."""

import importlib
import pkgutil
from dataclasses import dataclass
from types import ModuleType

from vocablab.base.config import from_json, override, to_json
from vocablab.base.errors import UserError
from vocablab.base.modules import load_file
from vocablab.lab.study import Study

BUILT_IN = "vocablab.studies"


@dataclass(frozen=True)
class Chosen:
    """A study as the user chose it."""

    study: Study
    """The study, overrides applied."""
    source: str
    """Module name or file path, from which a worker process loads the same classes."""
    preset: str
    """Name of the preset."""
    docstring: str
    """The study file's docstring: hypothesis, command, cost, expected result."""
    overrides: tuple[str, ...]
    """The ``--set`` options, which make the run exploratory."""


def built_in_names() -> list[str]:
    """Names of the built-in studies, as the command line spells them."""
    package = importlib.import_module(BUILT_IN)
    return sorted(m.name.replace("_", "-") for m in pkgutil.iter_modules(package.__path__))


def load_module(source: str) -> ModuleType:
    """The module of a study from a module name or a path to a ``.py`` file.

    Raises:
        UserError: if there is no such study, or its file does not run.
    """
    if not source.endswith(".py"):
        return importlib.import_module(source)
    return load_file(source, "study")


def declared(source: str) -> tuple[dict[str, Study], str]:
    """The presets of a study, and its docstring.

    A worker process asks for them too, although it gets the study as JSON: what a study file imports or defines only
    when its function runs must exist there as well.

    Raises:
        UserError: if there is no such study, or its file does not run.
    """
    module = load_module(source)
    if not hasattr(module, "study"):
        raise UserError(f"{source} declares no function study().")
    presets = module.presets() if hasattr(module, "presets") else {"default": module.study()}
    return presets, (module.__doc__ or "").strip()


def source_of(name: str) -> str:
    """Module name or path for what a user typed.

    Raises:
        UserError: for an unknown name, listing those there are.
    """
    if name.endswith(".py") or "/" in name:
        return name
    if name.replace("_", "-") not in built_in_names():
        raise UserError(
            f"there is no study '{name}'; there is {', '.join(built_in_names())}, or give a path to a .py file."
        )
    return f"{BUILT_IN}.{name.replace('-', '_')}"


def choose(name: str, preset: str | None = None, overrides: tuple[str, ...] = ()) -> Chosen:
    """Load a study, its preset and its overrides.

    Raises:
        UserError: naming the study, preset or field that is wrong.
    """
    source = source_of(name)
    presets, docstring = declared(source)
    wanted = preset or next(iter(presets))
    if wanted not in presets:
        raise UserError(f"study {name} has no preset '{wanted}'; it has {', '.join(presets)}.")
    # Through JSON and back: every type is checked, and 6 becomes 6.0 where a float is meant, so that worker
    # processes, which get the study as JSON, compute the same fingerprints.
    study: Study = from_json(Study, to_json(presets[wanted]), source)
    for item in overrides:
        path, equals, value = item.partition("=")
        if not equals:
            raise UserError(f"--set {item}: write it as field.path=value.")
        if path.startswith("recipe."):
            for index in range(len(study.arms)):
                study = override(study, f"arms.{index}.{path}", value)
        else:
            study = override(study, path, value)
    return Chosen(study, source, wanted, docstring, overrides)
