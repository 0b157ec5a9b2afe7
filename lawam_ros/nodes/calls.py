"""Calls of services and actions that wait for the answer, for threads that do not spin the node."""

import threading
from typing import Any

from rclpy.action import ActionClient
from rclpy.node import Node
from rclpy.task import Future

from lawam_ros.contract.errors import LawamError


def call_service(node: Node, service_type: Any, name: str, request: Any, timeout_s: float) -> Any:
    """The response. The node is spun by somebody else. Raises LawamError when the service is not there or does not answer in time.

    The node keeps its client: a server answers only those that it has discovered, which a new client has to wait for without being told.
    """
    client = _client(node, service_type, name)
    if not client.wait_for_service(timeout_sec=timeout_s):
        raise LawamError(f"expected service {name} within {timeout_s:g} s; it did not come up")
    return _result(client.call_async(request), f"an answer of {name}", timeout_s)


def call_action(node: Node, action_type: Any, name: str, goal: Any, timeout_s: float) -> Any:
    """The result of a goal. Raises LawamError when the action is not there, refuses, or does not end in time."""
    client = ActionClient(node, action_type, name)
    try:
        if not client.wait_for_server(timeout_sec=timeout_s):
            raise LawamError(f"expected action {name} within {timeout_s:g} s; it did not come up")
        handle = _result(client.send_goal_async(goal), f"{name} to take a goal", timeout_s)
        if not handle.accepted:
            raise LawamError(f"expected {name} to take a goal, it refused")
        return _result(handle.get_result_async(), f"the result of {name}", timeout_s).result
    finally:
        client.destroy()


def _client(node: Node, service_type: Any, name: str) -> Any:
    full_name = node.resolve_service_name(name)
    kept = (client for client in node.clients if client.service_name == full_name and client.srv_type is service_type)
    return next(kept, None) or node.create_client(service_type, name)


def _result(future: Future, what: str, timeout_s: float) -> Any:
    done = threading.Event()
    future.add_done_callback(lambda _: done.set())
    if not done.wait(timeout_s):
        raise LawamError(f"expected {what} within {timeout_s:g} s; none came")
    return future.result()
