"""Build description, for colcon (ament_python) and for pip.

ROS packages are named in package.xml only: none of them is on the Python package index under its own name.
"""

from pathlib import Path

from setuptools import find_packages, setup

PACKAGE = "lawam_ros"
HERE = Path(__file__).resolve().parent


def share_files(*folders: str) -> list[tuple[str, list[str]]]:
    """Every file under the folders, as (folder below the prefix, files) for an installation in share/lawam_ros."""
    found: dict[str, list[str]] = {}
    for folder in folders:
        for path in sorted((HERE / folder).rglob("*")):
            if path.is_file() and path.suffix != ".pyc":
                relative = path.relative_to(HERE)
                found.setdefault(f"share/{PACKAGE}/{relative.parent.as_posix()}", []).append(relative.as_posix())
    return sorted(found.items())


def asset_files() -> list[str]:
    """Shipped weights, relative to the package folder."""
    package = HERE / PACKAGE
    return [path.relative_to(package).as_posix() for path in sorted((package / "assets").rglob("*")) if path.is_file()]


setup(
    name=PACKAGE,
    version="0.1.0",
    description="Robot control with LaWAM, a latent world action model, on ROS 2",
    license="Apache-2.0",
    maintainer="lawam_ros maintainers",
    maintainer_email="maintainers@lawam-ros.example",
    python_requires=">=3.11",
    packages=find_packages(include=[PACKAGE, f"{PACKAGE}.*"]),
    package_data={PACKAGE: [*asset_files(), "py.typed"]},
    data_files=[
        ("share/ament_index/resource_index/packages", [f"resource/{PACKAGE}"]),
        (f"share/{PACKAGE}", ["package.xml"]),
        *share_files("launch", "config", "urdf"),
    ],
    zip_safe=False,
    install_requires=[
        "av",
        "matplotlib",
        "mcap",
        "msgpack>=1.0",
        "mujoco>=3.3",
        "numpy>=2.0",
        "opencv-python-headless",
        "pyarrow",
        "pyyaml",
        "rosbags",
        "safetensors",
        "supervisor",
        "tokenizers",
        "torch>=2.6",
        "tqdm",
        "transforms3d",
        "transformers>=5.0",
        "websockets>=15",
    ],
    # control: other ways to do what the package does itself. viewers: for machines without rviz. test: colcon test runs pytest where it
    # finds it named here.
    extras_require={
        "control": ["daqp", "ruckig"],
        "viewers": ["foxglove-sdk>=0.20", "rerun-sdk>=0.28"],
        "test": ["hypothesis", "pytest", "pytest-rerunfailures", "pytest-timeout"],
    },
    entry_points={
        "console_scripts": [
            "lawam = lawam_ros.cli.main:main",
            "policy = lawam_ros.nodes.policy:main",
            "chunk_executor = lawam_ros.nodes.chunk_executor:main",
            "subgoal_view = lawam_ros.nodes.subgoal_view:main",
            "sim = lawam_ros.nodes.sim:main",
            "x1_bridge = lawam_ros.nodes.x1_bridge:main",
            "mock = lawam_ros.nodes.mock:main",
            "recorder = lawam_ros.nodes.recorder:main",
            "player = lawam_ros.nodes.player:main",
            "viewer = lawam_ros.nodes.viewer:main",
        ],
        # The fixture lawam_replay, for the tests of whoever installs this; named as the module, so that it is taken only once.
        "pytest11": ["lawam_ros.cli.pytest_plugin = lawam_ros.cli.pytest_plugin"],
    },
)
