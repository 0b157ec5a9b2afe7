"""A node that is spun in a thread of its own, whatever the main spinner waits for."""

import sys
import threading
import traceback
from collections.abc import Callable

from rclpy.executors import ExternalShutdownException
from rclpy.node import Node

from lawam_ros.nodes.message_executor import MessageExecutor


class OwnThread:
    """Spins ``node`` from its construction until ``close``, which destroys the node too. Subscriptions may be made before and while."""

    def __init__(self, node: Node, name: str, failed: Callable[[], None]) -> None:
        """name: of the thread. failed: told when a callback raises, after which nothing is heard any more: the process must end."""
        self.node = node
        self._failed = failed
        self._executor = MessageExecutor(context=node.context)
        self._executor.add_node(node)
        self._thread = threading.Thread(target=self._spin, name=name, daemon=True)
        self._thread.start()

    def close(self, within_s: float = 1.0) -> None:
        """within_s: how long a callback that still runs is waited for."""
        self._executor.shutdown(timeout_sec=within_s)
        self._thread.join(timeout=within_s)
        self.node.destroy_node()

    def _spin(self) -> None:
        try:
            self._executor.spin()
        except ExternalShutdownException:
            pass
        except Exception:  # whatever a callback raised, a node that is deaf from here on must not drive an arm
            traceback.print_exc(file=sys.stderr)
            self._failed()
