"""The package as colcon, pip and rosdep see it: top level, manifest, entry points, launch files, lock files."""

import ast
import re
import subprocess
import xml.etree.ElementTree as ElementTree
from pathlib import Path

import pytest

TOP = Path(__file__).resolve().parents[3]
FOLDERS = {"lawam_ros", "launch", "config", "urdf", "test", "resource", "requirements", "docs", ".ci"}
FILES = {
    "package.xml", "setup.py", "setup.cfg", "pyproject.toml", "Makefile", "README.md", "LICENSE", "CHANGELOG.rst", "CITATION.cff",
    ".gitignore",
}  # fmt: skip
ROS_DEPENDENCIES = {
    "rclpy", "ament_index_python", "std_msgs", "sensor_msgs", "geometry_msgs", "trajectory_msgs", "visualization_msgs", "diagnostic_msgs",
    "std_srvs", "lifecycle_msgs", "rosgraph_msgs", "launch", "launch_ros", "ros2launch", "cv_bridge", "franka_msgs", "control_msgs",
    "rviz2", "robot_state_publisher", "xacro",
}  # fmt: skip
LOCKS = ["build.txt", "lock.txt", "ros-wheels.txt", "encoder.txt"]


def tracked_top_level() -> set[str]:
    command = ["git", "ls-files", "--cached", "--others", "--exclude-standard"]
    listing = subprocess.run(command, cwd=TOP, capture_output=True, text=True, check=False)
    if listing.returncode != 0:
        pytest.skip("not a git checkout")
    return {name.split("/")[0] for name in listing.stdout.splitlines()}


def test_the_top_level_holds_nothing_else() -> None:
    assert tracked_top_level() <= FOLDERS | FILES


def test_the_manifest_names_what_a_full_installation_uses() -> None:
    manifest = ElementTree.parse(TOP / "package.xml").getroot()
    assert manifest.get("format") == "3"
    assert {element.text for element in manifest.iter("exec_depend")} >= ROS_DEPENDENCIES
    assert manifest.findtext("license") == "Apache-2.0"
    maintainer = manifest.find("maintainer")
    assert maintainer is not None
    assert re.fullmatch(r"[^@\s]+@[^@\s]+\.[a-z]+", maintainer.get("email", ""))
    assert manifest.findtext("export/build_type") == "ament_python"
    assert "Apache License" in (TOP / "LICENSE").read_text()


def setup_call() -> dict[str, ast.expr]:
    """Keyword arguments of the call of setup() in setup.py."""
    for node in ast.walk(ast.parse((TOP / "setup.py").read_text())):
        if isinstance(node, ast.Call) and getattr(node.func, "id", "") == "setup":
            return {keyword.arg: keyword.value for keyword in node.keywords if keyword.arg}
    raise AssertionError("setup.py does not call setup()")


def console_scripts() -> dict[str, str]:
    return dict(line.split(" = ") for line in ast.literal_eval(setup_call()["entry_points"])["console_scripts"])


def test_the_executables_are_the_names_fixed_once() -> None:
    assert set(console_scripts()) == {
        "lawam",
        "policy",
        "chunk_executor",
        "subgoal_view",
        "sim",
        "mock",
        "recorder",
        "player",
        "viewer",
        "x1_bridge",
    }


@pytest.mark.parametrize(("script", "target"), console_scripts().items())
def test_each_executable_points_to_a_function(script: str, target: str) -> None:
    module, function = target.split(":")
    path = TOP / Path(*module.split(".")).with_suffix(".py")
    assert path.is_file(), f"executable {script}: {path} is missing"
    assert function in {node.name for node in ast.parse(path.read_text()).body if isinstance(node, ast.FunctionDef)}


def test_manifest_and_setup_agree_on_the_version() -> None:
    version = ast.literal_eval(setup_call()["version"])
    assert ElementTree.parse(TOP / "package.xml").getroot().findtext("version") == version
    assert f"version: {version}" in (TOP / "CITATION.cff").read_text()


def test_pip_is_asked_for_no_ros_package_and_no_torchvision() -> None:
    wanted = {re.split(r"[^A-Za-z0-9_-]", line)[0].lower() for line in ast.literal_eval(setup_call()["install_requires"])}
    # `launch`, `cv-bridge` and `rclpy` on the package index are other things than their ROS namesakes.
    forbidden = {name.replace("_", "-") for name in ROS_DEPENDENCIES} | ROS_DEPENDENCIES | {"torchvision", "torchaudio"}
    assert not wanted & forbidden
    assert not [name for name in wanted if name.startswith("ros-")]


def guards_launch(source: str) -> bool:
    """True where every import of `launch` in a file can only be reached after, or beside, one of `launch_ros`."""
    tree = ast.parse(source)
    names = [alias.name for node in ast.walk(tree) if isinstance(node, ast.Import) for alias in node.names]
    names += [node.module or "" for node in ast.walk(tree) if isinstance(node, ast.ImportFrom) and not node.level]
    skips = 'importorskip("launch")' in source or 'find_spec("launch")' in source
    return not skips and ("launch" not in {name.split(".")[0] for name in names} or "launch_ros" in source)


def test_guards_ask_for_launch_ros() -> None:
    """Without ROS the folder launch/ makes `import launch` succeed as an empty namespace."""
    files = [path for folder in ("lawam_ros", "test") for path in (TOP / folder).rglob("*.py") if path != Path(__file__).resolve()]
    assert [path.relative_to(TOP).as_posix() for path in files if not guards_launch(path.read_text(encoding="utf-8"))] == []


def test_an_unguarded_launch_import_is_noticed() -> None:
    assert not guards_launch("import launch")
    assert not guards_launch("from launch.actions import GroupAction")
    assert not guards_launch('pytest.importorskip("launch")')
    assert guards_launch("import launch_ros.actions\nimport launch")


def requirements(text: str) -> list[str]:
    """Logical lines of a requirements file, comments apart."""
    lines = [line for line in text.splitlines() if line.strip() and not line.lstrip().startswith("#")]
    return "\n".join(lines).replace("\\\n", " ").splitlines()


@pytest.mark.parametrize("name", LOCKS)
def test_each_locked_package_has_a_version_and_a_hash(name: str) -> None:
    entries = requirements((TOP / "requirements" / name).read_text())
    assert entries
    for entry in entries:
        assert re.match(r"[A-Za-z0-9_.-]+==\S+( ;.*?)?(\s+--hash=sha256:[0-9a-f]{64})+\s*$", entry), entry


def locked_names(name: str) -> set[str]:
    return {entry.split("==")[0].lower() for entry in requirements((TOP / "requirements" / name).read_text())}


def test_the_lock_holds_what_the_package_asks_for() -> None:
    wanted = {re.split(r"[^A-Za-z0-9_-]", line)[0].lower() for line in ast.literal_eval(setup_call()["install_requires"])}
    assert wanted - locked_names("lock.txt") == {"torch"}


def test_torch_is_locked_nowhere_and_ros_only_in_its_own_file() -> None:
    everywhere = set().union(*(locked_names(name) for name in LOCKS))
    assert not everywhere & {"torch", "torchvision", "torchaudio", "cv-bridge", "launch"}
    assert {name for name in everywhere if name.startswith("ros-")} <= locked_names("ros-wheels.txt")
    assert not {name for name in locked_names("lock.txt") if name.startswith("ros-")}


@pytest.mark.parametrize("name", LOCKS)
def test_a_lock_file_names_no_package_index(name: str) -> None:
    text = (TOP / "requirements" / name).read_text()
    assert "://" not in text
    assert not re.search(r"^\s*--(?!hash)", text, flags=re.MULTILINE)
