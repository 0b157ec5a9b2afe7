"""What all servers are told: where to listen, whom to answer, how much and how long."""

import hmac
import ipaddress
from dataclasses import dataclass

from lawam_ros.contract.errors import UserMistake

PROTOCOLS = ("websocket", "franka-http", "towel-tcp")
MIN_TOKEN = 16


@dataclass(frozen=True)
class ServeOptions:
    """embodiment_id, action_hz: used where a request says none. instruction: goes before the request's unless empty.

    token: empty for none. request_timeout_s: for one request to arrive, and for one answer to be taken. idle_timeout_s: between two
    requests of a connection.
    """

    host: str
    port: int
    embodiment_id: int
    action_hz: float
    instruction: str = ""
    token: str = ""
    max_request_bytes: int = 64 << 20
    request_timeout_s: float = 20.0
    idle_timeout_s: float = 1800.0
    connections: int = 8


def is_loopback(host: str) -> bool:
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def check_listening(protocol: str, host: str, token: str, insecure: bool) -> None:
    """Raises UserMistake for a server that strangers could use."""
    if token and len(token) < MIN_TOKEN:
        raise UserMistake(f"expected a token of at least {MIN_TOKEN} characters, got {len(token)}; make one with 'openssl rand -hex 24'")
    if protocol == "towel-tcp" and token:
        raise UserMistake("the towel protocol has no place for a token; expected none, and a listener on loopback behind an SSH tunnel")
    if is_loopback(host):
        return
    if protocol == "towel-tcp" and not insecure:
        raise UserMistake(
            f"--host {host}: the towel protocol knows no token, so whoever reaches the port may use it; listen on 127.0.0.1 and tunnel, "
            "or say --insecure-listen"
        )
    if protocol != "towel-tcp" and not token:
        raise UserMistake(f"--host {host}: expected a token (--token-file or LAWAM_TOKEN) for a server that others can reach, got none")


def authorised(header: str | None, token: str) -> bool:
    """Whether an ``Authorization`` header carries the token: ``Api-Key`` as official clients send it, or ``Bearer``."""
    if not token:
        return True
    scheme, _, given = (header or "").partition(" ")
    known = scheme.lower() in ("api-key", "bearer")
    return hmac.compare_digest(given.strip().encode(errors="surrogateescape"), token.encode()) and known


REFUSED = "expected the header 'Authorization: Api-Key <token>' or 'Authorization: Bearer <token>' with this server's token"
