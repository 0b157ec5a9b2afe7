"""Fixture ``lawam_replay`` for the tests of whoever installs this package: a golden recording is a test in one line."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest


@pytest.fixture
def lawam_replay() -> Callable[..., dict[str, Any]]:
    """``lawam_replay(bag, "--policy", "recorded", ...)`` replays with the arguments of ``lawam replay`` and gives its report.

    The test fails with the table where the replay is not as recorded.
    """

    def replay(bag: Path | str, *arguments: str, may_differ: bool = False) -> dict[str, Any]:
        """may_differ: give the report of a regression, too."""
        from lawam_ros.cli.main import parser
        from lawam_ros.cli.replay import replay as run

        report = run(parser().parse_args(["replay", str(bag), *arguments]))
        if report["regression"] and not may_differ:
            pytest.fail(report["text"], pytrace=False)
        return report

    return replay
