"""Print which of MuJoCo's off-screen renderers draws here; exit code 3 and one sentence where none does. For setup.sh and .ci/run."""

import os
import sys

from lawam_ros.contract.errors import EnvironmentLacks
from lawam_ros.sim.renderer import choose_renderer


def main() -> int:
    os.environ.pop("MUJOCO_GL", None)  # the user's own setting would be believed without a try
    try:
        print(choose_renderer())
    except EnvironmentLacks as lacking:
        print(f"setup: {lacking}", file=sys.stderr)
        return lacking.exit_code
    return 0


if __name__ == "__main__":
    sys.exit(main())
