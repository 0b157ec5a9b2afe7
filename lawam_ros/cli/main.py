"""Entry point of ``lawam``: one sub-command per file, and the exit codes of ``contract/errors.py``."""

import argparse
import sys
from collections.abc import Sequence
from importlib import import_module

from lawam_ros import __version__
from lawam_ros.contract.errors import LawamError

EXIT_INTERRUPTED = 130
"""What a shell expects of a program that SIGINT ended."""

_COMMANDS = ("demo", "evaluate", "replay", "convert", "data", "train", "parity", "inspect_checkpoint", "view", "bench", "serve")
"""Modules of this folder with ``add_parser(subparsers)`` that sets ``run``; heavy imports wait inside ``run``."""


def parser() -> argparse.ArgumentParser:
    top = argparse.ArgumentParser(
        prog="lawam",
        description="Run, record, train and inspect LaWAM policies on simulated and real robots.",
        epilog="Exit codes: 0 done, 1 a criterion was missed, 2 a mistake in the call, 3 the machine lacks something.",
    )
    top.add_argument("--version", action="version", version=f"lawam_ros {__version__}")
    subparsers = top.add_subparsers(title="commands", metavar="COMMAND", required=True)
    for name in _COMMANDS:
        import_module(f"lawam_ros.cli.{name}").add_parser(subparsers)
    return top


def main(arguments: Sequence[str] | None = None) -> int:
    """Exit code of one call. A user's mistake is one sentence on stderr, never a traceback."""
    args = parser().parse_args(arguments)
    try:
        return int(args.run(args))
    except LawamError as error:
        print(f"lawam: {error}", file=sys.stderr)
        return error.exit_code
    except KeyboardInterrupt:
        print("lawam: stopped", file=sys.stderr)
        return EXIT_INTERRUPTED
    except BrokenPipeError:
        return EXIT_INTERRUPTED


if __name__ == "__main__":
    sys.exit(main())
