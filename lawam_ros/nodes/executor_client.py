"""Asks the chunk executor of a graph for transitions, holds, stops and resets, from a node that is spun by somebody else's thread."""

from lifecycle_msgs.msg import Transition
from lifecycle_msgs.srv import ChangeState
from rclpy.node import Node
from std_srvs.srv import Trigger

from lawam_ros.nodes.calls import call_service

SERVICE_S = 10.0


class ExecutorClient:
    """Every call waits for its answer. Raises LawamError naming the service where none comes."""

    def __init__(self, node: Node) -> None:
        self._node = node

    def configure(self) -> bool:
        return self.transition(Transition.TRANSITION_CONFIGURE)

    def activate(self) -> bool:
        return self.transition(Transition.TRANSITION_ACTIVATE)

    def deactivate(self) -> bool:
        return self.transition(Transition.TRANSITION_DEACTIVATE)

    def transition(self, transition: int) -> bool:
        """One lifecycle transition; whether it was made."""
        request = ChangeState.Request(transition=Transition(id=transition))
        return bool(call_service(self._node, ChangeState, "chunk_executor/change_state", request, SERVICE_S).success)

    def trigger(self, service: str) -> tuple[bool, str]:
        """Call a Trigger service such as ``chunk_executor/reset``: whether it succeeded, and its message."""
        reply = call_service(self._node, Trigger, service, Trigger.Request(), SERVICE_S)
        return bool(reply.success), str(reply.message)
