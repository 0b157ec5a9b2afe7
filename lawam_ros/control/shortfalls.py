"""What an arm does not manage, and for how long: to follow its commands, to reach its targets, to keep up with its plan."""

from collections.abc import Iterator

from lawam_ros.control import ladder
from lawam_ros.control.ladder import Event
from lawam_ros.control.motion import LAG_FULL_RAD

_TRACKING_HOLD_S = 0.2
_TRACKING_STOP_S = 0.7
_IK_HOLD_S = 0.5
_IK_ERROR_M = 0.03
_LAG_HOLD_S = 0.5


class Shortfalls:
    """Since when each has lasted, in int ns on the executor's clock."""

    def __init__(self, tracking_error_rad: float) -> None:
        """tracking_error_rad: how far the measured joints may be from the commanded ones."""
        self._tracking_error_rad = tracking_error_rad
        self._off_track_since_ns: int | None = None
        self._out_of_reach_since_ns: int | None = None
        self._lagging_since_ns: int | None = None

    def forget(self) -> None:
        """The arm starts anew."""
        self._off_track_since_ns = self._out_of_reach_since_ns = self._lagging_since_ns = None

    def new_targets(self) -> None:
        """What was out of reach is no longer asked for."""
        self._out_of_reach_since_ns = None

    def judged(self, distance_rad: float, ik_error_m: float, lag_rad: float, now_ns: int) -> Iterator[tuple[Event, str]]:
        """What has lasted too long, as events of the stop ladder with their reasons; to be asked every tick.

        distance_rad: largest, from measured to commanded joints; ik_error_m: from the targets to what the joint targets reach; lag_rad:
        of the joints behind the plan.
        """
        off_s, self._off_track_since_ns = _lasting(distance_rad > self._tracking_error_rad, self._off_track_since_ns, now_ns)
        if off_s > _TRACKING_HOLD_S:
            yield Event.STOP if off_s > _TRACKING_STOP_S else Event.HOLD, ladder.TRACKING_ERROR
        out_s, self._out_of_reach_since_ns = _lasting(ik_error_m > _IK_ERROR_M, self._out_of_reach_since_ns, now_ns)
        if out_s > _IK_HOLD_S:
            yield Event.HOLD, ladder.IK_ERROR
        lag_s, self._lagging_since_ns = _lasting(lag_rad > LAG_FULL_RAD, self._lagging_since_ns, now_ns)
        if lag_s > _LAG_HOLD_S:
            yield Event.HOLD, ladder.BEYOND_LIMITS


def _lasting(wrong: bool, since_ns: int | None, now_ns: int) -> tuple[float, int | None]:
    """For how long (s) something has been wrong, and since when (ns)."""
    if not wrong:
        return 0.0, None
    since_ns = now_ns if since_ns is None else since_ns
    return (now_ns - since_ns) * 1e-9, since_ns
