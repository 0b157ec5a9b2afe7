"""Viewers for machines without rviz: what there is, and where it listens."""

from urllib.parse import quote

VIEWERS = ("foxglove", "rerun")
PORTS = {"foxglove": 8765, "rerun": 9090}
"""Used where none is given. Rerun takes the next one too, for its data."""


def viewer_address(kind: str, host: str, port: int) -> str:
    """What to open: the websocket for the Foxglove app, the page of Rerun. Whoever listens everywhere is met on this machine."""
    here = "127.0.0.1" if host == "0.0.0.0" else host
    return f"ws://{here}:{port}" if kind == "foxglove" else f"http://{here}:{port}?url={quote(rerun_data_address(here, port), safe='')}"


def rerun_data_address(host: str, port: int) -> str:
    """Where Rerun's data are, for a page at ``port``."""
    return f"rerun+http://{host}:{port + 1}/proxy"
