"""What can be told of the Rerun viewer without Rerun."""

import socket

import pytest

pytest.importorskip("rclpy", reason="rclpy is not installed")

from lawam_ros.contract.errors import EnvironmentLacks
from lawam_ros.nodes import rerun_viewer


def test_a_missing_library_is_told_with_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rerun_viewer, "find_spec", lambda _: None)
    with pytest.raises(EnvironmentLacks, match=r"rerun-sdk, which is not installed; pip install 'lawam_ros\[viewers\]'"):
        rerun_viewer.rerun_program()


def test_a_taken_port_is_told() -> None:
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        port = other.getsockname()[1]
        with pytest.raises(EnvironmentLacks, match=f"127.0.0.1:{port}, got: Address already in use; choose another port"):
            rerun_viewer.check_free("127.0.0.1", port)
    rerun_viewer.check_free("127.0.0.1", port)
