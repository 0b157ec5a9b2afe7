"""Which options of a command were given: those that mean nothing together are refused, not ignored."""

import argparse
from collections.abc import Iterable, Mapping
from typing import Any


def defaults_of(parser: argparse.ArgumentParser, names: Iterable[str]) -> dict[str, Any]:
    """Default by name, as an attribute of the parsed arguments: ``pause_s``."""
    return {name: parser.get_default(name) for name in names}


def given_options(args: argparse.Namespace, defaults: Mapping[str, Any]) -> str:
    """Options, ``--pause-s, --cut``, whose value is not their default; empty where there is none."""
    return ", ".join("--" + name.replace("_", "-") for name, default in defaults.items() if getattr(args, name) != default)
