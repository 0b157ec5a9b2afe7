"""Reading configuration with errors that name the file, the key, what was expected and what came."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import yaml
from numpy.typing import NDArray

from lawam_ros.contract.errors import UserMistake


def load_yaml(path: Path, kind: str) -> dict[str, Any]:
    """Mapping stored in ``path``. ``kind`` ("robot", "task") and its neighbours are named when it is missing."""
    if not path.is_file():
        known = ", ".join(sorted(p.stem for p in path.parent.glob("*.yaml"))) or "none"
        raise UserMistake(f"unknown {kind} '{path.stem}': expected one of {known} (files in config/{path.parent.name})")
    try:
        content = yaml.safe_load(path.read_text(encoding="utf-8"))
    except yaml.YAMLError as error:
        raise UserMistake(f"{path.name}: not valid YAML ({error})") from error
    if not isinstance(content, dict):
        raise UserMistake(f"{path.name}: expected a mapping at the top, got {type(content).__name__}")
    return content


class Fields:
    """Typed access to one mapping of a configuration file; every key must be asked for (see ``done``)."""

    def __init__(self, mapping: Any, where: str) -> None:
        if not isinstance(mapping, Mapping):
            raise UserMistake(f"{where}: expected a mapping, got {mapping!r}")
        self._mapping = mapping
        self._where = where
        self._asked: set[str] = set()

    def raw(self, key: str) -> Any:
        self._asked.add(key)
        if key not in self._mapping:
            raise UserMistake(f"{self._where}: key '{key}' is missing")
        return self._mapping[key]

    def has(self, key: str) -> bool:
        self._asked.add(key)
        return key in self._mapping

    def text(self, key: str) -> str:
        value = self.raw(key)
        if not isinstance(value, str) or not value.strip():
            raise UserMistake(f"{self._where}.{key}: expected a non-empty text, got {value!r}")
        return value

    def number(self, key: str, low: float, high: float) -> float:
        value = self.raw(key)
        if isinstance(value, bool) or not isinstance(value, int | float) or not low <= value <= high:
            raise UserMistake(f"{self._where}.{key}: expected a number between {low:g} and {high:g}, got {value!r}")
        return float(value)

    def integer(self, key: str, low: int, high: int) -> int:
        value = self.raw(key)
        if isinstance(value, bool) or not isinstance(value, int) or not low <= value <= high:
            raise UserMistake(f"{self._where}.{key}: expected an integer between {low} and {high}, got {value!r}")
        return value

    def flag(self, key: str) -> bool:
        value = self.raw(key)
        if not isinstance(value, bool):
            raise UserMistake(f"{self._where}.{key}: expected true or false, got {value!r}")
        return value

    def texts(self, key: str) -> tuple[str, ...]:
        value = self.raw(key)
        if not isinstance(value, list) or not all(isinstance(item, str) and item for item in value):
            raise UserMistake(f"{self._where}.{key}: expected a list of names, got {value!r}")
        if len(set(value)) != len(value):
            raise UserMistake(f"{self._where}.{key}: a name appears twice in {value!r}")
        return tuple(value)

    def vector(self, key: str, length: int) -> NDArray[np.float64]:
        value = self.raw(key)
        numbers = isinstance(value, list) and all(isinstance(item, int | float) and not isinstance(item, bool) for item in value)
        vector = np.array(value, dtype=float) if numbers else np.empty(0)
        if vector.shape != (length,) or not np.all(np.isfinite(vector)):
            raise UserMistake(f"{self._where}.{key}: expected {length} finite numbers, got {value!r}")
        vector.flags.writeable = False
        return vector

    def child(self, key: str) -> "Fields":
        return Fields(self.raw(key), f"{self._where}.{key}")

    def children(self, key: str) -> list[tuple[str, "Fields"]]:
        """Named sub-mappings in file order."""
        value = self.raw(key)
        if not isinstance(value, Mapping) or not value:
            raise UserMistake(f"{self._where}.{key}: expected named entries, got {value!r}")
        return [(str(name), Fields(entry, f"{self._where}.{key}.{name}")) for name, entry in value.items()]

    def names(self) -> tuple[str, ...]:
        """Keys in file order."""
        return tuple(map(str, self._mapping))

    def choice(self, key: str, allowed: tuple[str, ...]) -> str:
        value = self.text(key)
        if value not in allowed:
            raise UserMistake(f"{self._where}.{key}: expected one of {', '.join(allowed)}, got {value!r}")
        return value

    def done(self) -> None:
        """Refuse keys nobody asked for: a misspelt limit must not be ignored."""
        unknown = sorted(set(map(str, self._mapping)) - self._asked)
        if unknown:
            raise UserMistake(f"{self._where}: unknown key(s) {', '.join(unknown)}; expected {', '.join(sorted(self._asked))}")
