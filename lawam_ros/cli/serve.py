"""``lawam serve``: a checkpoint behind an official wire protocol."""

import argparse
import os
import signal
import threading
from pathlib import Path
from typing import Any

from lawam_ros.contract.errors import EXIT_DONE, EnvironmentLacks, UserMistake

PROTOCOLS = {"websocket": 10093, "franka-http": 9876, "towel-tcp": 57770}
"""Names and the official default ports."""

_OFFICIAL = {"websocket": (25, 20.0), "franka-http": (25, 5.0), "towel-tcp": (31, 20.0)}
"""Embodiment id and rate in Hz that the official servers assume, for checkpoints that name none."""


def add_parser(subparsers: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    parser = subparsers.add_parser(
        "serve",
        help="offer a checkpoint to official LaWAM clients",
        description=(
            "Answer official LaWAM clients, and ours (checkpoint:=ws://host:port), with the chunks of a checkpoint. Websocket answers are "
            "normalised, HTTP answers in the checkpoint's own units, towel answers absolute poses of both arms."
        ),
        epilog="docs/protocols.md has the formats, what actions mean to whom, and how to reach a server on another machine.",
    )
    parser.add_argument("checkpoint", metavar="CKPT", help="folder, weights file, name of a shipped one, or owner/name[@revision]")
    parser.add_argument("--protocol", choices=tuple(PROTOCOLS), required=True, help="what to speak")
    parser.add_argument("--host", default="127.0.0.1", help="address to listen on (default: %(default)s, this machine only)")
    ports = ", ".join(f"{name} {port}" for name, port in PROTOCOLS.items())
    parser.add_argument("--port", type=int, help=f"port to listen on, 0 for a free one (default: {ports})")
    parser.add_argument("--token-file", type=Path, help="file with the token that clients must send; the variable LAWAM_TOKEN does as well")
    parser.add_argument(
        "--insecure-listen", action="store_true", help="let the towel protocol, which knows no token, listen beyond loopback"
    )
    parser.add_argument("--instruction", default="", help="goes before what the client asks for")
    parser.add_argument("--action-hz", type=float, help="rate where a request names none (default: the checkpoint's, else the protocol's)")
    parser.add_argument("--embodiment-id", type=int, help="embodiment where a request names none (default: as for --action-hz)")
    parser.add_argument("--statistics-tag", help="which statistics of the checkpoint, where it has several")
    parser.add_argument("--device", choices=("auto", "cpu", "cuda"), default="auto", help="device of the model (default: %(default)s)")
    parser.add_argument("--precision", default="auto", help="float32, bfloat16 or bfloat16_head (default: bfloat16 on cuda, else float32)")
    parser.add_argument("--max-request-mb", type=float, default=64.0, help="largest request in MB (default: %(default)g)")
    parser.add_argument("--request-timeout-s", type=float, default=20.0, help="for a request to arrive (default: %(default)g)")
    parser.add_argument("--idle-timeout-s", type=float, default=1800.0, help="longest pause between two requests (default: %(default)g)")
    parser.add_argument("--connections", type=int, default=8, help="most connections at once (default: %(default)s)")
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Serves until SIGINT or SIGTERM; exit code 0. Raises UserMistake, EnvironmentLacks."""
    from lawam_ros.policies.choose import find_checkpoint
    from lawam_ros.serving.options import check_listening

    token = _token(args.token_file)
    check_listening(args.protocol, args.host, token, args.insecure_listen)
    _check_numbers(args)
    policy, options = _policy_and_options(args, find_checkpoint(args.checkpoint), token)
    try:
        server = _server(args.protocol, policy, options)
    except OSError as error:
        raise EnvironmentLacks(
            f"cannot listen on {options.host}:{options.port} ({error.strerror or error}); choose another --port"
        ) from error
    stopped = threading.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: stopped.set())
    worker = threading.Thread(target=server.serve_forever, name="serve", daemon=True)
    worker.start()
    print(_greeting(args.protocol, policy, options, _port(server)), flush=True)
    stopped.wait()
    server.shutdown()
    worker.join(timeout=2.0)
    return EXIT_DONE


def _policy_and_options(args: argparse.Namespace, path: Path, token: str) -> Any:
    import torch

    from lawam_ros.model.engine import Engine
    from lawam_ros.serving.options import ServeOptions
    from lawam_ros.serving.served_policy import ServedPolicy

    device = ("cuda" if torch.cuda.is_available() else "cpu") if args.device == "auto" else args.device
    precision = ("bfloat16" if device == "cuda" else "float32") if args.precision == "auto" else args.precision
    engine = Engine.load(path, device=device, dtype=precision, statistics_tag=args.statistics_tag)
    made_for = engine.facts or engine.lerobot
    official_id, official_hz = _OFFICIAL[args.protocol]
    options = ServeOptions(
        host=args.host,
        port=PROTOCOLS[args.protocol] if args.port is None else args.port,
        embodiment_id=args.embodiment_id if args.embodiment_id is not None else made_for.embodiment_id if made_for else official_id,
        action_hz=args.action_hz if args.action_hz is not None else made_for.action_hz if made_for else official_hz,
        instruction=args.instruction.strip(),
        token=token,
        max_request_bytes=round(args.max_request_mb * 1e6),
        request_timeout_s=args.request_timeout_s,
        idle_timeout_s=args.idle_timeout_s,
        connections=args.connections,
    )
    return ServedPolicy(engine, path.name), options


def _server(protocol: str, policy: Any, options: Any) -> Any:
    from lawam_ros.serving.franka_server import franka_server
    from lawam_ros.serving.towel_server import TowelSpeech, towel_server
    from lawam_ros.serving.websocket_server import websocket_server

    if protocol == "websocket":
        return websocket_server(policy, options)
    if protocol == "franka-http":
        return franka_server(policy, options)
    return towel_server(policy, options, TowelSpeech(policy, _official_arms(policy)))


def _official_arms(policy: Any) -> Any:
    """Of the robot that a checkpoint of ours was trained on; None for others."""
    from lawam_ros.contract.paths import config_dir, urdf_dir
    from lawam_ros.contract.robot_file import robot_from_mapping
    from lawam_ros.contract.yaml_fields import load_yaml
    from lawam_ros.control.official_rows import official_arms

    if policy.engine.facts is None:
        return None
    name = policy.engine.facts.robot
    robot = robot_from_mapping(load_yaml(config_dir() / "robots" / f"{name}.yaml", "robot"), f"robot {name}")
    return official_arms(robot, (urdf_dir() / robot.urdf).read_text(encoding="utf-8"))


def _port(server: Any) -> int:
    return int(server.port) if hasattr(server, "port") else int(server.socket.getsockname()[1])


def _greeting(protocol: str, policy: Any, options: Any, port: int) -> str:
    scheme = {"websocket": "ws", "franka-http": "http", "towel-tcp": "tcp"}[protocol]
    facts = policy.engine.facts
    meaning = ", ".join(facts.action) if facts and protocol != "towel-tcp" else "as the official checkpoint speaks them"
    meaning = "absolute end poses of both arms" if protocol == "towel-tcp" else meaning
    asked = "with token" if options.token else "without token"
    return f"serving {policy.name} on {scheme}://{options.host}:{port} ({asked}); actions: {meaning}. Ctrl-C ends it."


def _token(path: Path | None) -> str:
    if path is None:
        return os.environ.get("LAWAM_TOKEN", "").strip()
    try:
        return path.expanduser().read_text(encoding="utf-8").strip()
    except (OSError, UnicodeDecodeError) as error:
        raise UserMistake(f"--token-file {path}: expected a text file with the token ({error})") from error


def _check_numbers(args: argparse.Namespace) -> None:
    bounds = {
        "port": (0, 65535),
        "action_hz": (0.1, 1000.0),
        "embodiment_id": (0, 10_000),
        "max_request_mb": (0.001, 4000.0),
        "request_timeout_s": (0.1, 3600.0),
        "idle_timeout_s": (0.1, 1e6),
        "connections": (1, 1000),
    }
    for name, (low, high) in bounds.items():
        value = getattr(args, name)
        if value is not None and not low <= value <= high:
            raise UserMistake(f"--{name.replace('_', '-')} {value:g}: expected {low:g} to {high:g}")
