"""Frozen dataclasses to JSON and back, their fingerprints, and dotted overrides.

A config is a frozen dataclass of JSON values, tuples and other configs. Where a field may hold one of
several classes (an intervention, a budget), the JSON carries the class name under ``"type"`` and reading
it back accepts only subclasses of the annotated type: there is no global registry of strings.
"""

import dataclasses
import hashlib
import json
import types
import typing
from collections.abc import Sequence
from typing import Any, TypeVar

from vocablab.base.errors import UserError

T = TypeVar("T")


def execution_only(default: Any) -> Any:
    """A field that says where or how a thing runs (device, micro-batch): not part of the fingerprint."""
    return dataclasses.field(default=default, metadata={"identity": False})


def to_json(value: Any, *, identity_only: bool = False) -> Any:
    """Convert a config to plain JSON values.

    Args:
        value: a dataclass, list, tuple, range, dict with string keys, or JSON scalar.
        identity_only: leave out the fields marked `execution_only`.

    Raises:
        TypeError: for a value that JSON cannot hold, so that nothing is silently turned into a string.
    """
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        fields = {
            field.name: to_json(getattr(value, field.name), identity_only=identity_only)
            for field in dataclasses.fields(value)
            if not (identity_only and field.metadata.get("identity") is False)
        }
        return {"type": type(value).__name__, **fields}
    if isinstance(value, list | tuple | range):
        return [to_json(item, identity_only=identity_only) for item in value]
    if isinstance(value, dict):
        return {str(key): to_json(item, identity_only=identity_only) for key, item in value.items()}
    if value is None or isinstance(value, bool | int | float | str):
        return value
    raise TypeError(f"a {type(value).__name__} cannot be written to JSON: {value!r}")


def from_json(kind: Any, data: Any, where: str = "config") -> Any:
    """Rebuild a config of type `kind` (a dataclass, or a type annotation) from `to_json`'s output.

    Raises:
        UserError: naming the path of the field that is missing, unknown or of the wrong type.
    """
    origin = typing.get_origin(kind)
    if origin in (typing.Union, types.UnionType):
        return _from_union(typing.get_args(kind), data, where)
    if origin in (tuple, list):
        if not isinstance(data, list):
            raise UserError(f"{where}: expected a list, found {data!r}.")
        item_kind = typing.get_args(kind)[0]
        return origin(from_json(item_kind, item, f"{where}[{i}]") for i, item in enumerate(data))
    if origin is dict:
        return {key: from_json(typing.get_args(kind)[1], item, f"{where}.{key}") for key, item in data.items()}
    if isinstance(kind, type) and dataclasses.is_dataclass(kind):
        return _dataclass_from_json(kind, data, where)
    if kind is Any:
        return data
    if kind is float and isinstance(data, int) and not isinstance(data, bool):
        return float(data)
    if kind is type(None) and data is None:
        return None
    if not isinstance(kind, type) or not isinstance(data, kind) or (kind is int and isinstance(data, bool)):
        raise UserError(f"{where}: expected {getattr(kind, '__name__', kind)}, found {data!r}.")
    return data


def _from_union(kinds: tuple[Any, ...], data: Any, where: str) -> Any:
    for kind in kinds:
        if kind is type(None) and data is None:
            return None
        if isinstance(kind, type) and dataclasses.is_dataclass(kind):
            tag = data.get("type") if isinstance(data, dict) else None
            if tag in {c.__name__ for c in _concrete(kind)}:
                return from_json(kind, data, where)
        elif kind is not type(None):
            try:
                return from_json(kind, data, where)
            except UserError:
                continue
    if isinstance(data, dict) and "type" not in data:
        raise UserError(f"{where}: {data!r} does not say its type: one of {_names(kinds)}.")
    raise UserError(f"{where}: {data!r} fits none of {_names(kinds)}.")


def _names(kinds: Sequence[Any]) -> list[str]:
    return [getattr(kind, "__name__", str(kind)) for kind in kinds]


def _concrete(kind: type) -> list[type]:
    found: list[type] = [kind]
    children: list[type] = kind.__subclasses__()
    for child in children:
        found.extend(_concrete(child))
    return found


def _dataclass_from_json(kind: type[Any], data: Any, where: str) -> Any:
    if not isinstance(data, dict):
        raise UserError(f"{where}: expected a {kind.__name__}, found {data!r}.")
    tag = data.get("type", kind.__name__)
    by_name = {c.__name__: c for c in _concrete(kind)}
    if tag not in by_name:
        raise UserError(f"{where}.type: '{tag}' is not one of {sorted(by_name)}.")
    chosen = by_name[tag]
    hints = typing.get_type_hints(chosen)
    known = {field.name: field for field in dataclasses.fields(chosen) if field.init}
    unknown = sorted(set(data) - set(known) - {"type"})
    if unknown:
        raise UserError(f"{where}.{unknown[0]}: {chosen.__name__} has no such field; it has {sorted(known)}.")
    values = {}
    for name, field in known.items():
        if name in data:
            values[name] = from_json(hints[name], data[name], f"{where}.{name}")
        elif field.default is dataclasses.MISSING and field.default_factory is dataclasses.MISSING:
            raise UserError(f"{where}.{name}: missing.")
    return chosen(**values)


def canonical_json(value: Any) -> str:
    """One spelling per value: sorted keys, no spaces, no NaN."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False)


def fingerprint(value: Any) -> str:
    """SHA-256 (hex) of the identity part of a config or of plain JSON values."""
    return hashlib.sha256(canonical_json(to_json(value, identity_only=True)).encode()).hexdigest()


def override(config: T, path: str, text: str) -> T:
    """Return a copy of `config` with the dotted field `path` set to `text`, read as JSON or else as a string.

    Example: ``override(study, "recipe.steps", "100")``. A list index is a number: ``arms.1.name``.

    Raises:
        UserError: if the path leads nowhere or the value does not fit the field's type.
    """
    try:
        value = json.loads(text)
    except json.JSONDecodeError:
        value = text
    data = to_json(config)
    node: Any = data
    keys = path.split(".")
    for depth, key in enumerate(keys):
        index: Any = int(key) if isinstance(node, list) and key.isdigit() else key
        try:
            inner = node[index]
        except (KeyError, IndexError, TypeError):
            names = sorted(k for k in node if k != "type") if isinstance(node, dict) else f"0..{len(node) - 1}"
            raise UserError(f"--set {path}: there is no '{key}' here; there is {names}.") from None
        if depth == len(keys) - 1:
            node[index] = value
        elif not isinstance(inner, dict | list):
            raise UserError(f"--set {path}: '{key}' is a plain value and has no fields.")
        node = inner
    return typing.cast(T, from_json(type(config), data, "--set " + path))


def overridden(config: T, overrides: Sequence[str]) -> T:
    """`config` with every ``field.path=value`` of a command line applied, in order.

    Raises:
        UserError: for one that is not of this form, or as `override` does.
    """
    for one in overrides:
        path, equals, text = one.partition("=")
        if not equals:
            raise UserError(f"--set {one}: it is field=value.")
        config = override(config, path, text)
    return config
