"""One lifecycle for every node: transitions that log what failed, start by themselves, and end cleanly on SIGINT and SIGTERM."""

import inspect
import signal
import sys
import threading
import traceback
from collections.abc import Callable
from typing import Any

import rclpy
from diagnostic_msgs.msg import DiagnosticArray
from lifecycle_msgs.srv import ChangeState
from rclpy.executors import ExternalShutdownException
from rclpy.lifecycle import LifecycleNode, LifecycleState, TransitionCallbackReturn
from rclpy.signals import SignalHandlerOptions

from lawam_ros.contract.errors import EXIT_CRITERION_MISSED, EXIT_DONE, LawamError
from lawam_ros.contract.load import Contract, listed, load_contract
from lawam_ros.nodes import messages, parameters, qos
from lawam_ros.nodes.message_executor import MessageExecutor
from lawam_ros.nodes.parameters import Parameter
from lawam_ros.nodes.priority import middleware_priority
from lawam_ros.nodes.qos_mismatches import QosMismatches

STOP_SIGNALS = (signal.SIGINT, signal.SIGTERM)

_RETRY_S = 0.5
_POLL_S = 0.1
DIAGNOSTICS_S = 1.0


class InputMissing(LawamError):
    """A topic or service that should come up is not there yet; autostart tries again."""


class ManagedNode(LifecycleNode):
    """Base of all nodes. A child fills in ``setup``, ``start``, ``stop``, ``teardown`` and ``report``.

    setup builds everything that can be refused (raise LawamError with one sentence); start begins work; stop ends it and may wait; teardown
    releases threads and memory; publishers, subscriptions and services of setup are destroyed after it. A LawamError other than
    InputMissing during autostart ends the process with its exit code, because a restart cannot mend it.
    """

    def __init__(self, name: str, table: tuple[Parameter, ...]) -> None:
        self.mismatches = QosMismatches()
        super().__init__(name)
        parameters.declare(self, parameters.COMMON + table)
        self.finished = threading.Event()
        self.exit_code = EXIT_DONE
        self._configured = self._active = self._closing = False
        self._activation = threading.RLock()
        self._last_refusal = ""
        self._diagnostics = self.create_publisher(DiagnosticArray, "/diagnostics", qos.DIAGNOSTICS)
        self._diagnostics_timer = self.create_timer(DIAGNOSTICS_S, self._publish_diagnostics)
        self._autostart_timer = self.create_timer(0.01, self._autostart) if self.get_parameter("autostart").value else None
        self._change_state = self._service_change_state.callback
        self._service_change_state.callback = self._on_change_state
        self._kept = (*self.publishers, *self.subscriptions, *self.services)

    @property
    def starts_itself(self) -> bool:
        """While it does: nobody has asked for the transition under way."""
        return self._autostart_timer is not None

    def contract(self) -> Contract:
        """Contract from the task, robot and overrides parameters."""
        overrides = listed(str(self.get_parameter("overrides").value))
        return load_contract(str(self.get_parameter("task").value), str(self.get_parameter("robot").value) or None, overrides)

    def setup(self) -> None:
        raise NotImplementedError

    def start(self) -> None:
        raise NotImplementedError

    def stop(self) -> None:
        raise NotImplementedError

    def teardown(self) -> None:
        raise NotImplementedError

    def report(self) -> tuple[str, dict[str, object]]:
        """Problem in words (empty when all is well) and values for /diagnostics."""
        return "", {}

    def warning(self) -> str:
        """What is no fault yet, in words for /diagnostics; empty when there is nothing."""
        return ""

    def create_publisher(self, msg_type: Any, topic: str, *arguments: Any, **options: Any) -> Any:
        """As in rclpy; subscriptions it cannot serve are named in /diagnostics."""
        options.setdefault("event_callbacks", self.mismatches.of_publisher(topic))
        return super().create_publisher(msg_type, topic, *arguments, **options)

    def create_subscription(self, msg_type: Any, topic: str, *arguments: Any, **options: Any) -> Any:
        """As in rclpy; publishers it cannot hear are named in /diagnostics."""
        options.setdefault("event_callbacks", self.mismatches.of_subscription(topic))
        return super().create_subscription(msg_type, topic, *arguments, **options)

    def fail(self) -> None:
        """A thread of this node has met an error that it cannot mend: stop in order, and end the process with exit code 1."""
        self.exit_code = EXIT_CRITERION_MISSED
        self.finished.set()

    def on_configure(self, state: LifecycleState) -> TransitionCallbackReturn:
        return self._transition("configure", self.setup, undo=self._release, configured=True, active=False)

    def on_activate(self, state: LifecycleState) -> TransitionCallbackReturn:
        with self._activation:
            if self._closing:  # whoever closes the node has not waited for a slow setup, and would leave behind what moves now
                return TransitionCallbackReturn.FAILURE
            result = self._transition("activate", self.start, configured=True, active=True)
        if result is TransitionCallbackReturn.SUCCESS:
            super().on_activate(state)
        return result

    def on_deactivate(self, state: LifecycleState) -> TransitionCallbackReturn:
        result = self._transition("deactivate", self.stop, configured=True, active=False)
        super().on_deactivate(state)
        return result

    def on_cleanup(self, state: LifecycleState) -> TransitionCallbackReturn:
        return self._transition("cleanup", self._release, configured=False, active=False)

    def on_shutdown(self, state: LifecycleState) -> TransitionCallbackReturn:
        self.close()
        return TransitionCallbackReturn.SUCCESS

    def close(self) -> None:
        """Stop and release in order, whatever the state; nothing is activated after it. Safe to call twice."""
        self._closing = True
        with self._activation:
            if self._active:
                self._transition("stop", self.stop, configured=True, active=False)
        if self._configured:
            self._transition("release", self._release, configured=False, active=False)

    def _on_change_state(self, request: ChangeState.Request, reply: ChangeState.Response) -> ChangeState.Response:
        """A transition that this state does not have is refused; rclpy would raise, which ends the node, in motion too."""
        available = [number for number, *_ in self._state_machine.available_transitions]
        if not request.transition.label and request.transition.id not in available:
            self.get_logger().warning(
                f"refused transition {request.transition.id}: not available in {self._state_machine.current_state[1]}"
            )
            reply.success = False
            return reply
        return self._change_state(request, reply)

    def _release(self) -> None:
        """Back to before setup: left alone, what it made would be there twice after the next one, and count as another publisher."""
        self.teardown()
        self.mismatches.forget()
        for publisher in [p for p in self.publishers if p not in self._kept]:
            self.destroy_publisher(publisher)
        for subscription in [s for s in self.subscriptions if s not in self._kept]:
            self.destroy_subscription(subscription)
        for service in [s for s in self.services if s not in self._kept]:
            self.destroy_service(service)

    def _transition(
        self, name: str, action: Callable[[], None], configured: bool, active: bool, undo: Callable[[], None] | None = None
    ) -> TransitionCallbackReturn:
        try:
            action()
        except LawamError as error:
            self._refused(name, error)
            if undo:
                undo()
            return TransitionCallbackReturn.FAILURE
        except Exception:  # rclpy would swallow it: say what happened and take the lifecycle's error path
            self.get_logger().error(f"{name} failed:\n{traceback.format_exc()}")
            if undo:
                undo()
            if self._autostart_timer is not None:  # it would fail the same way every half second
                self.fail()
            return TransitionCallbackReturn.ERROR
        self._configured, self._active = configured, active
        if name == "configure":
            know_modules()
        return TransitionCallbackReturn.SUCCESS

    def _refused(self, name: str, error: LawamError) -> None:
        if isinstance(error, InputMissing):
            if str(error) != self._last_refusal:
                self.get_logger().info(f"cannot {name} yet: {error}")
        else:
            self.get_logger().error(f"cannot {name}: {error}")
            if self._autostart_timer is not None:
                self.exit_code = error.exit_code
                self.finished.set()
        self._last_refusal = str(error)

    def _autostart(self) -> None:
        assert self._autostart_timer is not None
        self._autostart_timer.cancel()
        if self.finished.is_set() or self._closing:
            return
        if not self._configured:
            self.trigger_configure()
        if self._configured and not self._active:
            self.trigger_activate()
        self.destroy_timer(self._autostart_timer)
        if self._active:
            self.get_logger().info("active")
            self._autostart_timer = None
            return
        self._autostart_timer = self.create_timer(_RETRY_S, self._autostart)

    def _publish_diagnostics(self) -> None:
        if not self._configured:
            return
        problem, values = self.report()
        warning = "; ".join(text for text in (self.warning(), self.mismatches.warning()) if text)
        self._diagnostics.publish(messages.diagnostics(self.get_clock().now().nanoseconds, self.get_name(), problem, values, warning))


def know_modules() -> None:
    """rclpy looks up in which module a log call stands: through all of them, and the disk, unless Python knows their files already.

    The first warning of a thread that hears joint states cost it 60 to 80 ms on a slow core, more than they may be old.
    """
    inspect.getmodule(inspect.currentframe())


def run(make_node: Callable[[], ManagedNode]) -> int:
    """Process of one node until SIGINT, SIGTERM or its own end; returns the exit code.

    rclpy's own signal handlers would tear down the middleware at once; an arm needs its publishers until it is at rest.
    """
    asked = threading.Event()
    for number in STOP_SIGNALS:
        signal.signal(number, lambda *_: asked.set())
    signal.pthread_sigmask(signal.SIG_UNBLOCK, STOP_SIGNALS)  # held back until here by the process group: no stop is lost in an import
    rclpy.init(signal_handler_options=SignalHandlerOptions.NO)
    with middleware_priority():
        node = make_node()
    executor = MessageExecutor()
    executor.add_node(node)
    spinner = threading.Thread(target=_spin, args=(executor,), name="spin", daemon=True)
    spinner.start()
    while not asked.wait(_POLL_S) and not node.finished.is_set():
        if not spinner.is_alive():
            node.exit_code = node.exit_code or 1
            break
    node.close()
    executor.shutdown(timeout_sec=1.0)
    spinner.join(timeout=1.0)
    node.destroy_node()
    rclpy.try_shutdown()
    return node.exit_code


def _spin(executor: MessageExecutor) -> None:
    try:
        executor.spin()
    except ExternalShutdownException:
        pass
    except Exception:  # the reason a node died must reach the log before the process ends
        traceback.print_exc(file=sys.stderr)
