"""An rclpy executor for nodes that hear hundreds of messages a second.

rclpy's own builds its wait set anew for every callback, twice, since it wakes itself after each: 1.0 to 1.6 ms of processor time a message
on a slow core, which at 250 Hz is a third of it. Here the wait set is kept, and filled again from lists, while nothing but messages and
timers comes.
"""

from collections.abc import Callable, Iterable
from contextlib import ExitStack
from typing import Any

from rclpy.exceptions import InvalidHandle
from rclpy.executors import ShutdownException, SingleThreadedExecutor, TimeoutException
from rclpy.impl.implementation_singleton import rclpy_implementation
from rclpy.subscription import Subscription
from rclpy.timer import Timer
from rclpy.waitable import NumberOfEntities

_FOR_EVER_NS = -1


class MessageExecutor(SingleThreadedExecutor):
    """As the single-threaded executor of rclpy 7 (Jazzy), whose inner parts it uses. Callbacks of subscriptions and timers must be plain
    functions. Services, clients and events of the middleware are left to rclpy: a round of its own whenever one of them is ready."""

    def spin(self) -> None:
        """Until shutdown. Raises what a callback raises."""
        while self._context.ok() and not self._is_shutdown:
            try:
                self._spin_some()
            except (AttributeError, InvalidHandle):
                if not self._is_shutdown:  # which takes guard conditions away in the middle of a round
                    raise

    def _spin_some(self) -> None:
        """Messages and timers, until the entities change or something else is ready."""
        with ExitStack() as in_use:
            kept = self._keep(in_use)
            if kept is None:
                return
            while kept.wait_and_call():
                pass
        if kept.for_rclpy or self._tasks:
            self._round_of_rclpy()

    def _keep(self, in_use: ExitStack) -> "_KeptWaitSet | None":
        """None while the executor is being shut down."""
        own_guards = [guard for guard in (self._guard, self._sigint_gc) if guard is not None]
        return _KeptWaitSet(self.get_nodes(), own_guards, self._context, in_use) if len(own_guards) == 2 else None

    def _round_of_rclpy(self) -> None:
        """Everything that is ready now."""
        try:
            for handler, _, _ in self._wait_for_ready_callbacks(timeout_sec=0):
                handler()
                handler.result()
        except (TimeoutException, ShutdownException):
            pass


class _KeptWaitSet:
    """What the nodes have at one time. None of it is destroyed before ``in_use`` is closed; what is made meanwhile is not in it, but rclpy
    triggers the executor's own guard condition for that, and for what is to be destroyed."""

    def __init__(self, nodes: Iterable[Any], own_guards: list[Any], context: Any, in_use: ExitStack) -> None:
        nodes = list(nodes)
        subscriptions = _held(in_use, (one for node in nodes for one in node.subscriptions))
        timers = _held(in_use, (one for node in nodes for one in node.timers))
        clients = _held(in_use, (one for node in nodes for one in node.clients))
        services = _held(in_use, (one for node in nodes for one in node.services))
        guards = _held(in_use, (one for node in nodes for one in node.guards))
        own_guards = _held(in_use, own_guards)
        self._waitables = [one for node in nodes for one in node.waitables if _entered(in_use, one)]
        in_use.enter_context(context.handle)
        count = NumberOfEntities(len(subscriptions), len(guards) + len(own_guards), len(timers), len(clients), len(services))
        for waitable in self._waitables:
            count += waitable.get_num_entities()
        wait_set = self._wait_set = rclpy_implementation.WaitSet(
            count.num_subscriptions,
            count.num_guard_conditions,
            count.num_timers,
            count.num_clients,
            count.num_services,
            count.num_events,
            context.handle,
        )
        self._subscriptions, self._timers, self._guards = (
            {one.handle.pointer: one for one in entities} for entities in (subscriptions, timers, guards)
        )
        self._fill: list[tuple[Callable[[Any], object], Any]] = [
            *((wait_set.add_subscription, one.handle) for one in subscriptions),
            *((wait_set.add_guard_condition, one.handle) for one in (*guards, *own_guards)),
            *((wait_set.add_timer, one.handle) for one in timers),
            *((wait_set.add_client, one.handle) for one in clients),
            *((wait_set.add_service, one.handle) for one in services),
        ]
        self.for_rclpy = False

    def wait_and_call(self) -> bool:
        """Calls back for the messages and timers that are ready next. False when the entities changed, or something else is ready, which
        ``for_rclpy`` then says."""
        wait_set = self._wait_set
        self.for_rclpy = False
        try:
            wait_set.clear_entities()
            for add, handle in self._fill:
                add(handle)
            for waitable in self._waitables:
                waitable.add_to_wait_set(wait_set)
        except InvalidHandle:  # another thread destroys it
            return False
        wait_set.wait(_FOR_EVER_NS)
        timers, messages = wait_set.get_ready_entities("timer"), wait_set.get_ready_entities("subscription")
        guards = wait_set.get_ready_entities("guard_condition")
        others = wait_set.get_ready_entities("client") or wait_set.get_ready_entities("service")
        for pointer in timers:
            _call(self._timers[pointer])
        for pointer in messages:
            _pass_on(self._subscriptions[pointer])
        for pointer in guards:
            if pointer in self._guards:
                self._guards[pointer]._executor_triggered = others = True
        # An event of the middleware stays ready until it is taken: it is found when nothing else is.
        self.for_rclpy = bool(others) or not (timers or messages or guards)
        return not guards and not self.for_rclpy


def _pass_on(subscription: Subscription) -> None:
    try:
        with subscription.handle:
            taken = subscription.handle.take_message(subscription.msg_type, subscription.raw)
    except InvalidHandle:  # a callback before has destroyed it
        return
    if taken is not None:
        alone = subscription._callback_type is Subscription.CallbackType.MessageOnly
        subscription.callback(*(taken[:1] if alone else taken))


def _call(timer: Timer) -> None:
    try:
        with timer.handle:
            if not timer.handle.is_timer_ready():  # cancelled
                return
            timer.handle.call_timer()
    except InvalidHandle:
        return
    timer.callback()


def _held(in_use: ExitStack, entities: Iterable[Any]) -> list[Any]:
    return [entity for entity in entities if _entered(in_use, entity.handle)]


def _entered(in_use: ExitStack, handle: Any) -> bool:
    """False for what is being destroyed."""
    try:
        in_use.enter_context(handle)
    except InvalidHandle:
        return False
    return True
