"""Who else publishes on a topic that only one may publish on."""

from rclpy.node import Node


def other_publishers(node: Node, topic: str, expected: int) -> str:
    """Empty while ``topic`` (before remapping) has no more publishers than ``expected``, else a sentence with the names of their nodes.

    expected: 1 where the node itself or somebody else may publish, 0 before the node has made its own publisher.
    """
    resolved = node.resolve_topic_name(topic)
    if node.count_publishers(resolved) <= expected:
        return ""
    found = node.get_publishers_info_by_topic(resolved)
    if len(found) <= expected:  # one has gone meanwhile
        return ""
    names = ", ".join(sorted(f"{info.node_namespace.rstrip('/')}/{info.node_name}" for info in found))
    return f"expected {expected or 'no'} publisher of {resolved}, found {len(found)}: {names}; stop the other"
