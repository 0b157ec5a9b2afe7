"""Which OpenGL backend MuJoCo renders with. Must be decided before the first ``import mujoco`` of a process."""

import os
import subprocess
import sys

from lawam_ros.contract.errors import EnvironmentLacks

BACKENDS = ("egl", "osmesa")
_PROBE_TIMEOUT_S = 60.0
_PROBE = """
import mujoco
model = mujoco.MjModel.from_xml_string("<mujoco><worldbody><light pos='0 0 3'/><geom size='1' rgba='1 0 0 1'/></worldbody></mujoco>")
data = mujoco.MjData(model)
mujoco.mj_forward(model, data)
renderer = mujoco.Renderer(model, 16, 16)
renderer.update_scene(data)
raise SystemExit(0 if renderer.render().max() > 0 else 1)
"""


def choose_renderer() -> str:
    """Set MUJOCO_GL to a backend that draws on this machine and return its name.

    A setting of the user's is kept and not probed. Otherwise EGL, then OSMesa are tried, each in a short child process, because a failed
    attempt cannot be undone within a process. Raises EnvironmentLacks where none works, naming the Debian packages, or the busy machine.
    """
    chosen = os.environ.get("MUJOCO_GL")
    if chosen:
        return chosen
    if "mujoco" in sys.modules:
        raise RuntimeError("choose_renderer() must run before the first import of mujoco in the process")
    slow = []
    for backend in BACKENDS:
        try:
            draws = backend_draws(backend)
        except subprocess.TimeoutExpired:
            slow.append(backend)
            continue
        if draws:
            os.environ["MUJOCO_GL"] = backend
            return backend
    if slow:
        raise EnvironmentLacks(
            f"expected {' or '.join(slow)} to draw a small picture within {_PROBE_TIMEOUT_S:g} s, it did not finish; is the machine busy? "
            f"Run again when it is not, or set MUJOCO_GL={slow[0]} to skip the trial"
        )
    raise EnvironmentLacks(
        "expected a software OpenGL renderer for the simulated cameras, neither EGL nor OSMesa works here; install the Debian packages "
        "'libegl1 libegl-mesa0 libgl1-mesa-dri' (or 'libosmesa6') and run again"
    )


def backend_draws(backend: str) -> bool:
    """Whether a fresh process can draw one non-black picture with this backend. Raises subprocess.TimeoutExpired."""
    environment = {**os.environ, "MUJOCO_GL": backend, "PYOPENGL_PLATFORM": backend}
    probe = subprocess.run([sys.executable, "-c", _PROBE], env=environment, capture_output=True, timeout=_PROBE_TIMEOUT_S, check=False)
    return probe.returncode == 0
