"""Small pieces of MuJoCo text."""

from collections.abc import Sequence


def numbers(values: Sequence[float]) -> str:
    return " ".join(f"{float(value):.4g}" for value in values)


def rgba(rgb: Sequence[float]) -> str:
    """An opaque colour."""
    return f"{numbers(rgb)} 1"
