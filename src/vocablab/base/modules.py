"""A user's own Python file as a module."""

import importlib.util
import sys
from pathlib import Path
from types import ModuleType

from vocablab.base.errors import UserError


def load_file(source: str, what: str) -> ModuleType:
    """Run a Python file once and return its module; the same module the next time.

    Args:
        source: path of the file.
        what: what it declares, for error sentences: ``study``.

    Raises:
        UserError: if there is no such file, or it does not run.
    """
    path = Path(source).resolve()
    if not path.is_file():
        raise UserError(f"there is no {what} file {source}.")
    name = f"vocablab_user_{what}_{path.stem.replace('-', '_')}"
    known = sys.modules.get(name)
    if known is not None and known.__file__ == str(path):
        return known
    spec = importlib.util.spec_from_file_location(name, path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    try:
        spec.loader.exec_module(module)
    except UserError:
        del sys.modules[name]
        raise
    except Exception as error:  # a user's file can fail in any way; say where rather than dump a traceback
        del sys.modules[name]
        raise UserError(f"the {what} file {source} does not run: {type(error).__name__}: {error}.") from None
    return module
