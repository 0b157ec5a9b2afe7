"""Small packages with the interfaces of a real robot that no wheel brings, and the environment in which Python finds them.

Field names and types as published with ros2_control 4, control_msgs for Jazzy and franka_ros2 3.4; of the large messages only what is read.
"""

import os
import re
import subprocess
import sys
import sysconfig
from pathlib import Path

import numpy

ERRORS = (
    "joint_position_limits_violation", "cartesian_position_limits_violation", "self_collision_avoidance_violation",
    "joint_velocity_violation", "cartesian_velocity_violation", "force_control_safety_violation", "joint_reflex", "cartesian_reflex",
    "communication_constraints_violation", "power_limit_violation",
)  # fmt: skip

PACKAGES = {
    "control_msgs": {
        "depends": "std_msgs trajectory_msgs",
        "msg/JointTrajectoryControllerState.msg": """std_msgs/Header header
string[] joint_names
trajectory_msgs/JointTrajectoryPoint reference
trajectory_msgs/JointTrajectoryPoint feedback
trajectory_msgs/JointTrajectoryPoint error
trajectory_msgs/JointTrajectoryPoint output
float64 speed_scaling_factor
""",
        "msg/GripperCommand.msg": "float64 position\nfloat64 max_effort\n",
        "action/GripperCommand.action": """GripperCommand command
---
float64 position
float64 effort
bool stalled
bool reached_goal
---
float64 position
float64 effort
bool stalled
bool reached_goal
""",
    },
    "controller_manager_msgs": {
        "depends": "std_msgs lifecycle_msgs builtin_interfaces",
        "msg/NamedLifecycleState.msg": "string name\nlifecycle_msgs/State state\n",
        "msg/ControllerManagerActivity.msg": """std_msgs/Header header
NamedLifecycleState[] controllers
NamedLifecycleState[] hardware_components
""",
        "msg/ControllerState.msg": "string name\nstring state\nstring type\nstring[] claimed_interfaces\n",
        "srv/ListControllers.srv": "---\nControllerState[] controller\n",
        "srv/SwitchController.srv": """string[] activate_controllers
string[] deactivate_controllers
int32 strictness
int32 BEST_EFFORT=1
int32 STRICT=2
bool activate_asap
builtin_interfaces/Duration timeout
---
bool ok
string message
""",
        "srv/SetHardwareComponentState.srv": "string name\nlifecycle_msgs/State target_state\n---\nbool ok\nlifecycle_msgs/State state\n",
    },
    "franka_msgs": {
        "depends": "std_msgs",
        "msg/Errors.msg": "".join(f"bool {name}\n" for name in ERRORS),
        "msg/FrankaRobotState.msg": "std_msgs/Header header\nfloat64 time\nuint8 robot_mode\nErrors current_errors\n",
        "msg/GraspEpsilon.msg": "float64 inner\nfloat64 outer\n",
        "action/Move.action": "float64 width\nfloat64 speed\n---\nbool success\nstring error\n---\nfloat64 current_width\n",
        "action/Grasp.action": """float64 width
GraspEpsilon epsilon
float64 speed
float64 force
---
bool success
string error
---
float64 current_width
""",
        "action/ErrorRecovery.action": "---\n---\n",
    },
}

_TOOLS = (
    "rclpy[fastrtps]", "std-msgs", "trajectory-msgs", "lifecycle-msgs", "rosidl-default-generators", "ament-cmake", "ament-package",
    "ament-cmake-include-directories", "ament-cmake-export-definitions", "ament-cmake-export-dependencies",
    "ament-cmake-export-include-directories", "ament-cmake-export-interfaces", "ament-cmake-export-libraries",
    "ament-cmake-export-link-flags", "ament-cmake-export-targets", "ament-cmake-gen-version-h", "ament-cmake-libraries",
    "ament-cmake-python", "ament-cmake-ros", "ament-cmake-target-dependencies", "ament-cmake-test", "ament-cmake-version",
    "ament-cmake-gtest", "ament-cmake-gmock", "ament-cmake-pytest", "rosidl-core-generators", "python-cmake-module",
    "pybind11-vendor",
)  # fmt: skip


def built_interfaces(folder: Path) -> dict[str, str]:
    """Build all packages in ``folder``, with tools in a virtual environment of its own; the variables of a process that uses them."""
    tools, workspace = folder / "tools", folder / "workspace"
    _run([getattr(sys, "_base_executable", sys.executable), "-m", "venv", str(tools)])
    wheels = [f"ros-jazzy-{name}" for name in _TOOLS]
    _run([str(tools / "bin/pip"), "install", "--quiet", "numpy", "setuptools<80", "colcon-common-extensions", *wheels])
    _mend_paths(tools)
    for name, files in PACKAGES.items():
        _write_package(workspace / "src" / name, name, files)
    variables = {"PATH": f"{tools / 'bin'}:{os.environ['PATH']}", "AMENT_PREFIX_PATH": str(tools), "CMAKE_PREFIX_PATH": str(tools)}
    # Without the paths of this process: the tools must find their own Python and their own packages.
    clean = {key: value for key, value in os.environ.items() if key not in ("PYTHONPATH", "VIRTUAL_ENV", "LD_LIBRARY_PATH")}
    _run([str(tools / "bin/colcon"), "build"], cwd=workspace, env={**clean, **variables, "CMAKE_BUILD_PARALLEL_LEVEL": "2"})
    return _environment(workspace / "install")


def _environment(install: Path) -> dict[str, str]:
    """The variables that local_setup.bash sets, on top of this process's own."""
    command = f". {install}/local_setup.bash >/dev/null && env -0"
    raw = subprocess.run(["bash", "-c", command], capture_output=True, check=True).stdout
    found = dict(entry.split("=", 1) for entry in raw.decode().split("\0") if "=" in entry)
    return {key: found[key] for key in ("AMENT_PREFIX_PATH", "PYTHONPATH", "LD_LIBRARY_PATH") if key in found}


def _mend_paths(tools: Path) -> None:
    """The CMake exports of the wheels hold paths of the machine that built them."""
    version = f"{sys.version_info.major}.{sys.version_info.minor}"
    numpy_include, python_include = numpy.get_include(), sysconfig.get_paths()["include"]
    for path in tools.glob("share/*/cmake/*.cmake"):
        text = path.read_text(encoding="utf-8", errors="surrogateescape")
        mended = re.sub(rf"/opt/python/cp\d+-cp\d+/lib/python{version}/site-packages/numpy/_core/include", numpy_include, text)
        mended = re.sub(rf"/opt/python/cp\d+-cp\d+/include/python{version}", python_include, mended)
        if mended != text:
            path.write_text(mended, encoding="utf-8", errors="surrogateescape")


def _write_package(folder: Path, name: str, files: dict[str, str]) -> None:
    depends = files["depends"].split()
    interfaces = {path: text for path, text in files.items() if path != "depends"}
    for path, text in interfaces.items():
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        (folder / path).write_text(text)
    finds = "\n".join(f"find_package({package} REQUIRED)" for package in ("ament_cmake", "rosidl_default_generators", *depends))
    listed = " ".join(f'"{path}"' for path in interfaces)
    (folder / "CMakeLists.txt").write_text(
        f"cmake_minimum_required(VERSION 3.8)\nproject({name})\n{finds}\n"
        f"rosidl_generate_interfaces(${{PROJECT_NAME}} {listed} DEPENDENCIES {' '.join(depends)})\nament_package()\n"
    )
    tags = "\n".join(f"  <depend>{package}</depend>" for package in depends)
    (folder / "package.xml").write_text(
        f"""<?xml version="1.0"?>
<package format="3">
  <name>{name}</name>
  <version>0.0.0</version>
  <description>Stand-in for tests</description>
  <maintainer email="nobody@example.com">nobody</maintainer>
  <license>Apache-2.0</license>
  <buildtool_depend>ament_cmake</buildtool_depend>
  <buildtool_depend>rosidl_default_generators</buildtool_depend>
{tags}
  <member_of_group>rosidl_interface_packages</member_of_group>
  <export><build_type>ament_cmake</build_type></export>
</package>
"""
    )


def _run(command: list[str], **options) -> None:
    done = subprocess.run(command, capture_output=True, text=True, check=False, **options)
    assert done.returncode == 0, f"{' '.join(command)}\n{done.stdout[-3000:]}\n{done.stderr[-3000:]}"
