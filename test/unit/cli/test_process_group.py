"""Nodes as a group of processes: started, started again, stopped in order, and never left behind."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from lawam_ros.bringup import NodeSpec
from lawam_ros.cli.process_group import ProcessGroup
from lawam_ros.contract.errors import EnvironmentLacks

STUB = """
import os, signal, sys, time
name = next(word.split(":=")[1] for word in sys.argv if word.startswith("__node:="))
def say(what):
    with open(os.environ["EVENTS"], "a") as file:
        file.write(f"{name} {what} {os.getpid()}\\n")
def interrupted(*_):
    say("interrupted")
    sys.exit(0)
signal.signal(signal.SIGINT, interrupted)
signal.pthread_sigmask(signal.SIG_UNBLOCK, (signal.SIGINT, signal.SIGTERM))  # as nodes do once they can brake
say("started")
print(f"last words of {name}", flush=True)
if name == "refuses":
    sys.exit(2)
if name == "deaf":
    signal.signal(signal.SIGINT, signal.SIG_IGN)
while True:
    time.sleep(0.05)
"""
PARENT = """
import sys, time
from lawam_ros.bringup import NodeSpec
from lawam_ros.cli.process_group import ProcessGroup
import os
os.chdir(sys.argv[1])
with ProcessGroup([NodeSpec("stub_a"), NodeSpec("stub_b")], "", {}):
    print("up", flush=True)
    time.sleep(600)
"""


class Stubs:
    """Stand-ins for nodes that write down what happens to them."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._events = folder / "events"

    def named(self, name: str, respawn: bool = False) -> NodeSpec:
        package = self.folder / "lawam_ros" / "nodes"
        package.mkdir(parents=True, exist_ok=True)
        for folder in (package, package.parent):  # else an installed package on PYTHONPATH goes before
            (folder / "__init__.py").touch()
        (package / f"{name}.py").write_text(STUB)
        return NodeSpec(name, {"text": "1e3"}, respawn)

    def events(self) -> list[tuple[str, str]]:
        return [(line.split()[0], line.split()[1]) for line in self._lines()]

    def pids(self) -> set[int]:
        return {int(line.split()[2]) for line in self._lines()}

    def _lines(self) -> list[str]:
        return self._events.read_text().splitlines() if self._events.exists() else []


@pytest.fixture
def stubs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Stubs:
    monkeypatch.chdir(tmp_path)  # ``python -m`` looks there first
    monkeypatch.setenv("EVENTS", str(tmp_path / "events"))
    return Stubs(tmp_path)


def wait_for(condition: Callable[[], bool], limit_s: float = 20.0) -> bool:
    deadline = time.monotonic() + limit_s
    while not condition() and time.monotonic() < deadline:
        time.sleep(0.02)
    return condition()


def alive(pid: int) -> bool:
    """Whether it runs; one that ended and was not yet collected by its parent does not."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def started(stubs: Stubs, *names: str) -> Callable[[], bool]:
    return lambda: all((name, "started") in stubs.events() for name in names)


def test_started_and_stopped_with_sigint_in_reverse_order(stubs: Stubs) -> None:
    nodes = [stubs.named(name) for name in ("one", "two", "three")]
    with ProcessGroup(nodes, "", {}) as group:
        assert wait_for(started(stubs, "one", "two", "three"))
        assert all(group.state(node.name).running for node in nodes)
        assert {group.state(node.name).pid for node in nodes} == stubs.pids()
        assert wait_for(lambda: group.log_tail("two") == "last words of two")
        folder = group._path
    stopped = [name for name, what in stubs.events() if what == "interrupted"]
    assert stopped == ["three", "two", "one"]
    assert group.exit_codes == {"one": 0, "two": 0, "three": 0}
    assert not any(alive(pid) for pid in stubs.pids())
    assert not folder.exists()


def test_a_killed_node_is_started_again_only_where_the_table_says_so(stubs: Stubs) -> None:
    with ProcessGroup([stubs.named("again", respawn=True), stubs.named("once")], "", {}) as group:
        assert wait_for(started(stubs, "again", "once"))
        before = group.state("again").pid
        group.signal("again", signal.SIGKILL)
        group.signal("once", signal.SIGKILL)
        assert wait_for(lambda: stubs.events().count(("again", "started")) == 2)
        assert wait_for(lambda: not group.state("once").running)
        assert group.state("again").running
        assert group.state("again").pid != before
        assert stubs.events().count(("once", "started")) == 1


def test_a_refusal_is_not_started_again_and_its_code_is_kept(stubs: Stubs) -> None:
    with ProcessGroup([stubs.named("refuses", respawn=True), stubs.named("other")], "", {}) as group:
        assert wait_for(lambda: group.state("refuses").exit_code == 2)
        assert wait_for(started(stubs, "other"))
        time.sleep(0.3)
        assert not group.state("refuses").running
        assert stubs.events().count(("refuses", "started")) == 1
    assert group.exit_codes["refuses"] == 2


def test_nothing_else_is_ended(stubs: Stubs) -> None:
    """Not even a process of the same program whose name and folder are nearly the same."""
    stubs.named("one")
    command = [sys.executable, "-m", "lawam_ros.nodes.one", "-r", "__node:=bystander"]
    bystander = subprocess.Popen(command, cwd=stubs.folder, stdout=subprocess.DEVNULL)
    try:
        with ProcessGroup([stubs.named("one", respawn=True)], "", {}) as first:
            assert wait_for(started(stubs, "one", "bystander"))
            with ProcessGroup([stubs.named("two")], "", {}) as second:
                assert wait_for(started(stubs, "two"))
                second._kill()
            assert first.state("one").running
        assert bystander.poll() is None
    finally:
        bystander.kill()
        bystander.wait()


def test_nodes_end_when_the_run_is_killed(stubs: Stubs) -> None:
    for name in ("stub_a", "stub_b"):
        stubs.named(name)
    top = Path(__file__).resolve().parents[3]
    parent = subprocess.Popen([sys.executable, "-c", PARENT, str(stubs.folder)], cwd=top, stdout=subprocess.PIPE, text=True)
    assert parent.stdout is not None
    assert parent.stdout.readline() == "up\n"
    assert wait_for(started(stubs, "stub_a", "stub_b"))
    parent.kill()
    parent.communicate()
    assert wait_for(lambda: not any(alive(pid) for pid in stubs.pids()))
    assert {name for name, what in stubs.events() if what == "interrupted"} == {"stub_a", "stub_b"}


def test_nodes_end_when_the_supervisor_is_killed(stubs: Stubs) -> None:
    with ProcessGroup([stubs.named("one"), stubs.named("two")], "", {}) as group:
        assert wait_for(started(stubs, "one", "two"))
        assert group._supervisor is not None
        group._supervisor.kill()
        assert wait_for(lambda: not any(alive(pid) for pid in stubs.pids()))
    assert {name for name, what in stubs.events() if what == "interrupted"} == {"one", "two"}


def test_a_deaf_node_is_ended_with_its_supervisor(stubs: Stubs) -> None:
    with ProcessGroup([stubs.named("deaf")], "", {}) as group:
        assert wait_for(started(stubs, "deaf"))
        time.sleep(0.2)  # until it no longer listens
        group._kill()
        assert wait_for(lambda: not any(alive(pid) for pid in stubs.pids()))


def test_environment_reaches_the_nodes(stubs: Stubs, tmp_path: Path) -> None:
    with ProcessGroup([stubs.named("one")], "", {"EVENTS": str(tmp_path / "events"), "ROS_DOMAIN_ID": "77 %"}) as group:
        assert wait_for(started(stubs, "one"))
        environment = Path(f"/proc/{group.state('one').pid}/environ").read_bytes().split(b"\0")
    assert b"ROS_DOMAIN_ID=77 %" in environment
    assert os.environ.get("ROS_DOMAIN_ID") != "77 %"


def test_a_supervisor_that_does_not_start_is_told(stubs: Stubs, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ProcessGroup, "_configuration", lambda self: "[supervisord]\nlogfile=/no/such/folder/log\n")
    group = ProcessGroup([stubs.named("one")], "", {})
    with pytest.raises(EnvironmentLacks, match="expected the process supervisor to start, it did not: .*log"), group:
        pytest.fail("the group was entered")
    assert not group._path.exists()
