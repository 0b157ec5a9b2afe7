"""Publishers and subscriptions that cannot hear each other, named instead of silent."""

from typing import Any

from rclpy.event_handler import PublisherEventCallbacks, SubscriptionEventCallbacks
from rclpy.logging import get_logger
from rclpy.qos import qos_policy_name_from_kind


class QosMismatches:
    """What the middleware has said about other ends whose quality of service does not fit. One per node; the middleware tells each once."""

    def __init__(self) -> None:
        self._found: dict[str, str] = {}

    def of_subscription(self, topic: str) -> SubscriptionEventCallbacks:
        """For a subscription that is the only one to read ``topic``."""
        return SubscriptionEventCallbacks(incompatible_qos=lambda event: self._note(topic, "a publisher", event))

    def of_publisher(self, topic: str) -> PublisherEventCallbacks:
        return PublisherEventCallbacks(incompatible_qos=lambda event: self._note(topic, "a subscription", event))

    @staticmethod
    def expected() -> SubscriptionEventCallbacks:
        """For two subscriptions of one topic, of which every publisher fits at least one."""
        return SubscriptionEventCallbacks(use_default_callbacks=False)

    def warning(self) -> str:
        """All of them in one sentence, empty when there are none."""
        return "; ".join(self._found.values())

    def forget(self) -> None:
        self._found = {}

    def _note(self, topic: str, other: str, event: Any) -> None:
        policy = str(qos_policy_name_from_kind(event.last_policy_kind)).removesuffix("_QOS_POLICY").lower()
        text = f"topic {topic}: {other} has another {policy} and is not connected; see docs/architecture.md, section 4"
        if self._found.get(topic) != text:
            get_logger("qos").warning(text)
        self._found = {**self._found, topic: text}
