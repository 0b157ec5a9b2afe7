import subprocess
import sys

import pytest

from lawam_ros.contract.errors import EnvironmentLacks
from lawam_ros.sim import renderer


def test_the_users_setting_is_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MUJOCO_GL", "glfw")
    assert renderer.choose_renderer() == "glfw"


def test_the_first_backend_that_draws_wins(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MUJOCO_GL", "")
    monkeypatch.delitem(sys.modules, "mujoco", raising=False)
    monkeypatch.setattr(renderer, "backend_draws", lambda backend: backend == "osmesa")
    assert renderer.choose_renderer() == "osmesa"


def test_a_machine_without_renderer_is_told_the_packages(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MUJOCO_GL", "")
    monkeypatch.delitem(sys.modules, "mujoco", raising=False)
    monkeypatch.setattr(renderer, "backend_draws", lambda backend: False)
    with pytest.raises(EnvironmentLacks, match="libegl1 libegl-mesa0 libgl1-mesa-dri.*libosmesa6"):
        renderer.choose_renderer()


def test_a_late_choice_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MUJOCO_GL", "")
    monkeypatch.setitem(sys.modules, "mujoco", sys)
    with pytest.raises(RuntimeError, match="before"):
        renderer.choose_renderer()


def test_a_broken_backend_does_not_draw() -> None:
    assert renderer.backend_draws("no_such_backend") is False


def test_a_busy_machine_is_not_told_that_packages_lack(monkeypatch: pytest.MonkeyPatch) -> None:
    def hang(*_args: object, **_kwargs: object) -> None:
        raise subprocess.TimeoutExpired("probe", 1.0)

    monkeypatch.setenv("MUJOCO_GL", "")
    monkeypatch.delitem(sys.modules, "mujoco", raising=False)
    monkeypatch.setattr(renderer.subprocess, "run", hang)
    with pytest.raises(EnvironmentLacks, match="egl or osmesa to draw .* busy.*MUJOCO_GL=egl"):
        renderer.choose_renderer()
