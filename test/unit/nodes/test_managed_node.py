"""The common lifecycle: what a child refuses, what it leaves behind, and how autostart ends."""

import inspect
import os
import threading
import time
from collections.abc import Callable, Iterator

import pytest

pytest.importorskip("rclpy", reason="rclpy is not installed")

import rclpy
from rclpy.lifecycle import TransitionCallbackReturn
from std_msgs.msg import Header
from std_srvs.srv import Trigger

from lawam_ros.contract.errors import EXIT_DONE, EXIT_USER_MISTAKE, UserMistake
from lawam_ros.nodes import qos
from lawam_ros.nodes.managed import InputMissing, ManagedNode
from lawam_ros.nodes.message_executor import MessageExecutor

SUCCESS = TransitionCallbackReturn.SUCCESS


class Probe(ManagedNode):
    """A child whose setup and start do what the test says."""

    def __init__(self) -> None:
        super().__init__("probe", ())
        self.calls: list[str] = []
        self.on_setup: Callable[[], None] = lambda: None
        self.on_start: Callable[[], None] = lambda: None

    def setup(self) -> None:
        self.calls.append("setup")
        self.create_publisher(Header, "probe_topic", qos.BEAT)
        self.create_subscription(Header, "probe_topic", lambda _: None, qos.BEAT)
        self.create_service(Trigger, "~/probe", lambda _, reply: reply)
        self.on_setup()

    def start(self) -> None:
        self.calls.append("start")
        self.on_start()

    def stop(self) -> None:
        self.calls.append("stop")

    def teardown(self) -> None:
        self.calls.append("teardown")


@pytest.fixture
def probe(request: pytest.FixtureRequest) -> Iterator[Probe]:
    autostart = getattr(request, "param", False)
    rclpy.init(args=["--ros-args", "-p", f"autostart:={str(autostart).lower()}"], domain_id=int(os.environ["ROS_DOMAIN_ID"]))
    made = Probe()
    yield made
    made.close()
    made.destroy_node()
    rclpy.try_shutdown()


def refuse(error: Exception) -> Callable[[], None]:
    def action() -> None:
        raise error

    return action


def spin_until(node: Probe, condition: Callable[[], bool], limit_s: float = 10.0) -> bool:
    executor = MessageExecutor()
    executor.add_node(node)
    deadline = time.monotonic() + limit_s
    while not condition() and time.monotonic() < deadline:
        executor.spin_once(timeout_sec=0.05)
    executor.shutdown()
    return condition()


def entities(node: Probe) -> tuple[int, int, int]:
    return len(list(node.publishers)), len(list(node.subscriptions)), len(list(node.services))


def test_round_trips_leave_nothing_behind(probe: Probe) -> None:
    before = entities(probe)
    for _ in range(3):
        assert probe.trigger_configure() == SUCCESS
        assert probe.count_publishers("probe_topic") == 1
        assert entities(probe) == tuple(n + 1 for n in before)
        assert probe.trigger_activate() == SUCCESS
        assert probe.trigger_deactivate() == SUCCESS
        assert probe.trigger_cleanup() == SUCCESS
        assert entities(probe) == before
    assert probe.calls == ["setup", "start", "stop", "teardown"] * 3


@pytest.mark.parametrize("error", [UserMistake("no such cube"), ValueError("a bug")])
def test_a_failed_setup_is_undone(probe: Probe, error: Exception) -> None:
    before = entities(probe)
    probe.on_setup = refuse(error)
    assert probe.trigger_configure() != SUCCESS
    assert entities(probe) == before
    assert probe.calls == ["setup", "teardown"]
    probe.on_setup = lambda: None
    assert probe.trigger_configure() == SUCCESS


def test_a_refusal_without_autostart_leaves_the_process_alive(probe: Probe) -> None:
    probe.on_setup = refuse(UserMistake("no such cube"))
    assert probe.trigger_configure() == TransitionCallbackReturn.FAILURE
    assert not probe.finished.is_set()


def test_close_stops_before_it_releases_and_does_so_once(probe: Probe) -> None:
    probe.trigger_configure()
    probe.trigger_activate()
    probe.close()
    probe.close()
    assert probe.calls == ["setup", "start", "stop", "teardown"]


@pytest.mark.parametrize("probe", [True], indirect=True)
def test_autostart_activates(probe: Probe) -> None:
    assert spin_until(probe, lambda: probe.calls == ["setup", "start"])
    assert not probe.finished.is_set()


@pytest.mark.parametrize("probe", [True], indirect=True)
def test_autostart_ends_with_the_code_of_a_refusal(probe: Probe) -> None:
    probe.on_setup = refuse(UserMistake("no such cube"))
    assert spin_until(probe, probe.finished.is_set)
    assert probe.exit_code == EXIT_USER_MISTAKE
    assert probe.calls == ["setup", "teardown"]


@pytest.mark.parametrize("probe", [True], indirect=True)
def test_autostart_waits_for_inputs(probe: Probe) -> None:
    missing = [InputMissing("no joint states yet")]

    def start() -> None:
        if missing:
            raise missing.pop()

    probe.on_start = start
    assert spin_until(probe, lambda: probe.calls == ["setup", "start", "start"])
    assert not probe.finished.is_set()
    assert probe.exit_code == EXIT_DONE


@pytest.mark.parametrize("probe", [True], indirect=True)
def test_a_refusal_after_autostart_has_done_its_work_leaves_the_process_alive(probe: Probe) -> None:
    assert spin_until(probe, lambda: probe._active and probe._autostart_timer is None)
    assert probe.trigger_deactivate() == SUCCESS
    probe.on_start = refuse(UserMistake("another executor is there"))
    assert probe.trigger_activate() == TransitionCallbackReturn.FAILURE
    assert not probe.finished.is_set()


def test_nothing_is_activated_once_the_node_closes(probe: Probe) -> None:
    probe.on_setup = probe.close  # a stop that comes while a slow setup still runs
    assert probe.trigger_configure() == SUCCESS
    assert probe.trigger_activate() == TransitionCallbackReturn.FAILURE
    assert probe.calls == ["setup"]


def test_a_start_under_way_is_stopped_by_a_close_beside_it(probe: Probe) -> None:
    started, go = threading.Event(), threading.Event()

    def slow() -> None:
        started.set()
        assert go.wait(10.0)

    probe.on_start = slow
    probe.trigger_configure()
    spinner = threading.Thread(target=probe.trigger_activate)
    spinner.start()
    assert started.wait(10.0)
    closer = threading.Thread(target=probe.close)
    closer.start()
    assert probe.calls == ["setup", "start"]
    go.set()
    for thread in (spinner, closer):
        thread.join(timeout=10.0)
        assert not thread.is_alive()
    assert probe.calls == ["setup", "start", "stop", "teardown"]


def test_the_first_warning_in_motion_does_not_look_through_all_modules(probe: Probe, monkeypatch: pytest.MonkeyPatch) -> None:
    """It did, with the disk, for 48 ms where the ones after it take one: a thread that logs could not hear joint states."""
    monkeypatch.setattr(inspect, "modulesbyfile", {})
    monkeypatch.setattr(inspect, "_filesbymodname", {})
    assert probe.trigger_configure() is SUCCESS
    looked_up = []
    sourcefile_of = inspect.getsourcefile
    monkeypatch.setattr(inspect, "getsourcefile", lambda thing: looked_up.append(thing) or sourcefile_of(thing))
    probe.get_logger().warning("in motion")
    assert 0 < len(looked_up) < 20
