"""Services called from a thread that does not spin the node."""

import threading
from collections.abc import Iterator

import pytest

pytest.importorskip("rclpy", reason="rclpy is not installed")

import rclpy
from rclpy.context import Context
from rclpy.node import Node
from rclpy.signals import SignalHandlerOptions
from std_srvs.srv import Trigger

from lawam_ros.contract.errors import LawamError
from lawam_ros.nodes.calls import call_service
from lawam_ros.nodes.message_executor import MessageExecutor


@pytest.fixture
def node() -> Iterator[Node]:
    context = Context()
    rclpy.init(context=context, signal_handler_options=SignalHandlerOptions.NO)
    node = rclpy.create_node("caller", namespace="cell", context=context)
    executor = MessageExecutor(context=context)
    executor.add_node(node)
    thread = threading.Thread(target=executor.spin, daemon=True)
    thread.start()
    yield node
    executor.shutdown(timeout_sec=1.0)
    thread.join(timeout=1.0)
    node.destroy_node()
    rclpy.try_shutdown(context=context)


def serve(node: Node, answer: str) -> object:
    return node.create_service(Trigger, "ask", lambda _, reply: Trigger.Response(success=True, message=answer))


def test_one_client_serves_all_calls_also_of_a_server_that_was_started_again(node: Node) -> None:
    first = serve(node, "first")
    answers = [call_service(node, Trigger, "ask", Trigger.Request(), 5.0).message for _ in range(3)]
    node.destroy_service(first)
    serve(node, "second")
    answers.append(call_service(node, Trigger, "ask", Trigger.Request(), 5.0).message)
    assert answers == ["first"] * 3 + ["second"]
    assert [client.service_name for client in node.clients] == ["/cell/ask"]


def test_a_service_that_is_not_there_is_named(node: Node) -> None:
    with pytest.raises(LawamError, match="expected service ask within 0.1 s; it did not come up"):
        call_service(node, Trigger, "ask", Trigger.Request(), 0.1)
