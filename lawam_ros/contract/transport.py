"""Which transports of Fast DDS a process uses; read by the middleware when it starts."""

import os
from pathlib import Path

from lawam_ros.contract.paths import config_dir

IMAGES = "fastdds_large_shm.xml"
"""Profile in ``config/``: shared memory that holds images, for the processes that send and read them."""

PROFILE_VARIABLES = ("FASTRTPS_DEFAULT_PROFILES_FILE", "FASTDDS_DEFAULT_PROFILES_FILE")
RANGE = "ROS_AUTOMATIC_DISCOVERY_RANGE"
SHARING = "LAWAM_SHARED_MEMORY"
"""Environment variable: ``on`` gives the executor its part in shared memory, where nothing is lost for want of room in a socket."""

ACQUAINTED_S = 3.2
"""Participants announce themselves every 3 s: after this time all that were there at its start have heard of each other, and whoever speaks
through shared memory has opened it to all of them."""


def wait_for_nobody() -> None:
    """Speak over UDP only, whatever profile of ours was given; one of the user's own stays. Before the middleware starts.

    No memory is shared with processes that come, go and are killed: ``fastdds_udp.xml`` says why.
    """
    given = {Path(os.environ.get(name) or IMAGES).name for name in PROFILE_VARIABLES}
    if os.environ.get(SHARING, "").lower() == "on" or given != {IMAGES}:
        return
    profile = "fastdds_udp.xml"
    if os.environ.get(RANGE) == "LOCALHOST":
        profile = "fastdds_udp_localhost.xml"
        os.environ |= {RANGE: "SUBNET", "ROS_STATIC_PEERS": "127.0.0.1"}
    os.environ |= dict.fromkeys(PROFILE_VARIABLES, str(config_dir() / profile))
