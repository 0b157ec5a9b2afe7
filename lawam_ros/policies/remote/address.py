"""The address of a server, and what its user knows about its actions: a server is a checkpoint elsewhere, so its facts go with its name."""

import math
import os
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import parse_qsl, urlsplit

from lawam_ros.contract.errors import UserMistake
from lawam_ros.policies.remote.action_meaning import GRIPPERS, NAMED
from lawam_ros.policies.wire import franka_http, towel_tcp, websocket_messages

DEFAULT_PORTS = {"ws": websocket_messages.DEFAULT_PORT, "http": franka_http.DEFAULT_PORT, "tcp": towel_tcp.DEFAULT_PORT}
_ENCRYPTED = ("wss", "https")
_KNOWN = ("actions", "gripper", "action_hz", "statistics", "tag", "timeout_s")


@dataclass(frozen=True)
class RemoteAddress:
    """``scheme://host:port?key=value&key=value``.

    actions, gripper: what the numbers mean, names of ``action_meaning.py``; empty where the server says it. action_hz: the server's rate
    where it does not say it. statistics, tag: checkpoint folder or dataset_statistics.json of an official websocket server, and the entry
    in it. timeout_s: for one answer. token: from the variable LAWAM_TOKEN, never from the address, which logs and bags keep.
    """

    scheme: str
    host: str
    port: int
    actions: str = ""
    gripper: str = ""
    action_hz: float | None = None
    statistics: Path | None = None
    tag: str | None = None
    timeout_s: float = 5.0
    token: str = ""

    @property
    def text(self) -> str:
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{self.scheme}://{host}:{self.port}"


def is_remote(text: str) -> bool:
    return text.partition("://")[0] in (*DEFAULT_PORTS, *_ENCRYPTED) and "://" in text


def remote_address(text: str) -> RemoteAddress:
    """Raises UserMistake naming the part that is wrong."""
    try:
        parts = urlsplit(text)
        host, port = parts.hostname, parts.port
        pairs = parse_qsl(parts.query, keep_blank_values=True, strict_parsing=bool(parts.query))
    except ValueError as error:
        raise UserMistake(f"{text!r}: expected ws://host:port, http://host:port or tcp://host:port ({error})") from error
    if parts.scheme in _ENCRYPTED:
        raise UserMistake(f"{text!r}: encrypted servers are reached through a tunnel; expected ws://, http:// or tcp:// to its near end")
    if not host or parts.username is not None or parts.path not in ("", "/") or parts.fragment:
        raise UserMistake(f"{text!r}: expected {parts.scheme}://host:port, then only ?{'=...&'.join(_KNOWN)}=...")
    options = dict(pairs)
    unknown = [key for key in options if key not in _KNOWN]
    if unknown or len(options) < len(pairs):
        raise UserMistake(f"{text!r}: expected each of {', '.join(_KNOWN)} at most once, got {', '.join(unknown) or 'one twice'}")
    return RemoteAddress(
        scheme=parts.scheme,
        host=host,
        port=port or DEFAULT_PORTS[parts.scheme],
        actions=_choice(text, options, "actions", tuple(NAMED)),
        gripper=_choice(text, options, "gripper", GRIPPERS),
        action_hz=_number(text, options, "action_hz"),
        statistics=Path(options["statistics"]).expanduser() if options.get("statistics") else None,
        tag=options.get("tag"),
        timeout_s=_number(text, options, "timeout_s") or RemoteAddress.timeout_s,
        token=os.environ.get("LAWAM_TOKEN", "").strip(),
    )


def _choice(text: str, options: dict[str, str], key: str, known: tuple[str, ...]) -> str:
    value = options.get(key, "")
    if key in options and value not in known:
        raise UserMistake(f"{text!r}: {key}: expected {', '.join(known)}, got {value!r}")
    return value


def _number(text: str, options: dict[str, str], key: str) -> float | None:
    if key not in options:
        return None
    try:
        value = float(options[key])
    except ValueError:
        value = math.nan
    if not 0.05 <= value <= 600.0:
        raise UserMistake(f"{text!r}: {key}: expected a number from 0.05 to 600, got {options[key]!r}")
    return value
