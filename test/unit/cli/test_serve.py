"""``lawam serve``: what is refused before a model is loaded, and a server from its first line to its end."""

import os
import re
import signal
import subprocess
import sys
from pathlib import Path
from urllib.request import urlopen

import pytest

from lawam_ros.cli.main import main

RUN = Path(__file__).parents[2] / "data" / "golden_small" / "runs" / "nostate"


@pytest.fixture(autouse=True)
def no_token(monkeypatch):
    monkeypatch.delenv("LAWAM_TOKEN", raising=False)


@pytest.mark.parametrize(
    ("arguments", "match"),
    [
        (["--protocol", "websocket", "--host", "0.0.0.0"], "expected a token"),
        (["--protocol", "towel-tcp", "--host", "0.0.0.0"], "say --insecure-listen"),
        (["--protocol", "franka-http", "--token-file", "/no/such/file"], "expected a text file with the token"),
        (["--protocol", "franka-http", "--port", "99999"], "--port 99999: expected 0 to 65535"),
        (["--protocol", "franka-http", "--request-timeout-s", "0"], "--request-timeout-s 0: expected"),
        (["--protocol", "franka-http"], "no checkpoint 'nowhere'"),
    ],
)
def test_mistakes_are_one_sentence(arguments, match, capsys):
    assert main(["serve", "nowhere", *arguments]) == 2
    assert match in capsys.readouterr().err


def test_a_checkpoint_of_another_robot_cannot_speak_for_two_arms(capsys):
    assert main(["serve", str(RUN), "--protocol", "towel-tcp", "--port", "0"]) == 2
    assert "needs 14 action components" in capsys.readouterr().err


def test_a_server_says_where_it_listens_and_ends_with_0():
    command = [sys.executable, "-m", "lawam_ros.cli.main", "serve", str(RUN), "--protocol", "franka-http", "--port", "0"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=os.environ | {"OMP_NUM_THREADS": "1"}) as process:
        line = process.stdout.readline()
        address = re.search(r"http://127\.0\.0\.1:\d+", line)
        assert address, line
        assert urlopen(f"{address[0]}/health", timeout=30).read() == b'{"status": "ok"}'
        process.send_signal(signal.SIGINT)
        assert process.wait(timeout=60) == 0
