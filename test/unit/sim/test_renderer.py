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


def test_a_broken_backend_does_not_draw(monkeypatch: pytest.MonkeyPatch) -> None:
    assert renderer.backend_draws("no_such_backend") is False

    def hang(*_args: object, **_kwargs: object) -> None:
        raise subprocess.TimeoutExpired("probe", 1.0)

    monkeypatch.setattr(renderer.subprocess, "run", hang)
    assert renderer.backend_draws("egl") is False
