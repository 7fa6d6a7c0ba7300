"""TOML to frozen dataclasses: nothing is executed, nothing unknown is let through."""

import math
import tomllib
from collections.abc import Mapping
from dataclasses import MISSING, fields, is_dataclass
from pathlib import Path
from types import UnionType
from typing import Any, Literal, TypeVar, Union, get_args, get_origin, get_type_hints

T = TypeVar("T")

CONFIGS = Path(__file__).parent / "configs"


class ConfigError(ValueError):
    """A configuration that does not say what it must; the message names file, key and expectation."""


def names() -> list[str]:
    """The shipped configurations that can be trained, sorted; those without a recipe are only bases of others."""
    return sorted(path.stem for path in CONFIGS.glob("*.toml") if "recipe" in load_table(path) and "-" in path.stem)


def load_table(path: str | Path, *, above: tuple[Path, ...] = ()) -> dict[str, Any]:
    """Read a TOML file, or a shipped configuration by name, over those it `extends`.

    What is extended is looked for among the shipped ones first, then beside the file.

    Parameters
    ----------
    above : the files that extend this one

    Raises
    ------
    ConfigError
        No such file or name, not TOML, or it extends itself.
    """
    path = Path(path)
    if path.suffix != ".toml":
        path = CONFIGS / f"{path}.toml"
    try:
        table = tomllib.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise ConfigError(f"no configuration {path.stem!r}; shipped are {', '.join(names())}") from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path.name}: not valid TOML ({error})") from error
    bases = table.pop("extends", [])
    bases = [bases] if isinstance(bases, str) else bases
    if not isinstance(bases, list) or not all(isinstance(base, str) for base in bases):
        raise ConfigError(f"{path.name}: extends is {bases!r}, expected names of configurations")
    merged: dict[str, Any] = {}
    for base in bases:
        shipped = CONFIGS / f"{base}.toml"
        below = shipped if shipped.is_file() else path.parent / f"{base}.toml"
        if below.resolve() in (path.resolve(), *above):
            raise ConfigError(f"{path.name}: it extends itself by way of {base!r}")
        merged = _merge(merged, load_table(below, above=(*above, path.resolve())))
    return _merge(merged, table)


def parse(kind: type[T], table: Mapping[str, Any], *, where: str = "configuration") -> T:
    """Build the dataclass `kind` from a table, checking every key and type.

    Raises
    ------
    ConfigError
        A key is unknown or missing, or a value has the wrong type.
    """
    assert is_dataclass(kind)
    hints = get_type_hints(kind)
    known = {field.name: field for field in fields(kind)}
    for key in table:
        if key not in known:
            raise ConfigError(f"{where}: unknown key {key!r}; expected one of {', '.join(sorted(known))}")
    values = {}
    for name, field in known.items():
        if name in table:
            values[name] = _convert(hints[name], table[name], f"{where}.{name}")
        elif field.default is MISSING and field.default_factory is MISSING:
            raise ConfigError(f"{where}: the key {name!r} is missing")
    try:
        return kind(**values)
    except ValueError as error:
        raise ConfigError(f"{where}: {error}") from error


def _merge(below: Mapping[str, Any], above: Mapping[str, Any]) -> dict[str, Any]:
    merged = dict(below)
    for key, value in above.items():
        old = merged.get(key)
        merged[key] = _merge(old, value) if isinstance(old, dict) and isinstance(value, dict) else value
    return merged


def _convert(hint: Any, value: Any, where: str) -> Any:
    origin = get_origin(hint)
    if origin in (Union, UnionType):
        options = [option for option in get_args(hint) if option is not type(None)]
        return _convert(options[0], value, where)
    if origin is Literal:
        if value in get_args(hint):
            return value
        raise ConfigError(f"{where}: {value!r} is not one of {', '.join(map(str, get_args(hint)))}")
    if is_dataclass(hint) and isinstance(hint, type) and isinstance(value, Mapping):
        return parse(hint, value, where=where)
    if origin is tuple and isinstance(value, (list, tuple)):
        return tuple(_convert(get_args(hint)[0], item, where) for item in value)
    if hint is float and type(value) in (int, float):
        if math.isfinite(value):
            return float(value)
        raise ConfigError(f"{where}: {value} is not a finite number")
    if isinstance(hint, type) and issubclass(hint, str) and isinstance(value, str):
        try:
            return hint(value)
        except ValueError as error:
            raise ConfigError(f"{where}: {error}") from error
    if type(value) is hint:
        return value
    raise ConfigError(f"{where}: {value!r} is not a {getattr(hint, '__name__', hint)}")
