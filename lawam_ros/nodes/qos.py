"""Quality of service of every topic, in one place (architecture, section 4)."""

from rclpy.qos import DurabilityPolicy, HistoryPolicy, QoSProfile, ReliabilityPolicy


def _profile(reliability: ReliabilityPolicy, durability: DurabilityPolicy, depth: int) -> QoSProfile:
    return QoSProfile(history=HistoryPolicy.KEEP_LAST, depth=depth, reliability=reliability, durability=durability)


CHUNK = _profile(ReliabilityPolicy.RELIABLE, DurabilityPolicy.VOLATILE, 5)
LATCHED = _profile(ReliabilityPolicy.RELIABLE, DurabilityPolicy.TRANSIENT_LOCAL, 1)
ANY_PUBLISHER = _profile(ReliabilityPolicy.BEST_EFFORT, DurabilityPolicy.VOLATILE, 1)
"""Matches every publisher; read beside LATCHED where both kinds must be heard (instruction, estop)."""
SENSOR = _profile(ReliabilityPolicy.BEST_EFFORT, DurabilityPolicy.VOLATILE, 10)
REFERENCE = _profile(ReliabilityPolicy.RELIABLE, DurabilityPolicy.VOLATILE, 10)
BEAT = _profile(ReliabilityPolicy.BEST_EFFORT, DurabilityPolicy.VOLATILE, 1)
IMAGE_OUT = _profile(ReliabilityPolicy.RELIABLE, DurabilityPolicy.VOLATILE, 2)
IMAGE_IN = _profile(ReliabilityPolicy.BEST_EFFORT, DurabilityPolicy.VOLATILE, 1)
COMMAND = _profile(ReliabilityPolicy.RELIABLE, DurabilityPolicy.VOLATILE, 100)
"""Deep enough for the independent checker to see every tick of a reader that is held up for 0.4 s."""
STEPPED = _profile(ReliabilityPolicy.RELIABLE, DurabilityPolicy.VOLATILE, 10)
STEPPED_REFERENCE = _profile(ReliabilityPolicy.RELIABLE, DurabilityPolicy.VOLATILE, 200)
STEPPED_STATUS = _profile(ReliabilityPolicy.RELIABLE, DurabilityPolicy.TRANSIENT_LOCAL, 200)
"""In lock step nothing may be lost. The executor publishes these every tick and waits for no reader of them: one that is held up must still
find all ticks of the longest latency."""
WINDOW = _profile(ReliabilityPolicy.RELIABLE, DurabilityPolicy.VOLATILE, 1)
"""To a real controller: only the newest counts."""
RECORDED = _profile(ReliabilityPolicy.RELIABLE, DurabilityPolicy.VOLATILE, 1000)
RECORDED_LATCHED = _profile(ReliabilityPolicy.RELIABLE, DurabilityPolicy.TRANSIENT_LOCAL, 1000)
RECORDED_DRIVER = _profile(ReliabilityPolicy.BEST_EFFORT, DurabilityPolicy.VOLATILE, 200)
"""A recorder that is held up must not miss a message; drivers choose for themselves what they publish."""
DIAGNOSTICS = _profile(ReliabilityPolicy.RELIABLE, DurabilityPolicy.VOLATILE, 10)
TF = _profile(ReliabilityPolicy.RELIABLE, DurabilityPolicy.VOLATILE, 100)
TF_STATIC = _profile(ReliabilityPolicy.RELIABLE, DurabilityPolicy.TRANSIENT_LOCAL, 100)
