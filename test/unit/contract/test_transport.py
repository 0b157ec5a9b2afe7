"""Which processes take part in shared memory."""

import os
from pathlib import Path

import pytest

from lawam_ros.contract.paths import config_dir
from lawam_ros.contract.transport import IMAGES, PROFILE_VARIABLES, RANGE, SHARING, wait_for_nobody

PEERS = "ROS_STATIC_PEERS"
NAMES = (*PROFILE_VARIABLES, RANGE, PEERS, SHARING)


@pytest.fixture(autouse=True)
def nothing_set(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in NAMES:
        monkeypatch.setenv(name, "")  # so that what is set below is undone
        monkeypatch.delenv(name)


def set_variables() -> dict[str, str]:
    return {name: Path(os.environ[name]).name for name in NAMES if name in os.environ}


@pytest.mark.parametrize("given", ["", IMAGES])
def test_our_profile_gives_way_to_one_without_shared_memory(monkeypatch: pytest.MonkeyPatch, given: str) -> None:
    for name in PROFILE_VARIABLES if given else ():
        monkeypatch.setenv(name, str(config_dir() / given))
    wait_for_nobody()
    assert set_variables() == dict.fromkeys(PROFILE_VARIABLES, "fastdds_udp.xml")
    assert Path(os.environ[PROFILE_VARIABLES[0]]).is_file()


def test_on_this_machine_only_it_stays_so_without_the_range_that_adds_shared_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(RANGE, "LOCALHOST")
    wait_for_nobody()
    assert set_variables() == dict.fromkeys(PROFILE_VARIABLES, "fastdds_udp_localhost.xml") | {RANGE: "SUBNET", PEERS: "127.0.0.1"}
    assert "<address>127.0.0.1</address>" in Path(os.environ[PROFILE_VARIABLES[0]]).read_text(encoding="utf-8")


def test_where_nobody_is_late_nothing_changes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(SHARING, "on")
    wait_for_nobody()
    assert set_variables() == {SHARING: "on"}


@pytest.mark.parametrize("name", PROFILE_VARIABLES)
def test_a_profile_of_the_user_stays(monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    monkeypatch.setenv(RANGE, "LOCALHOST")
    monkeypatch.setenv(name, "/of/the/user.xml")
    wait_for_nobody()
    assert set_variables() == {RANGE: "LOCALHOST", name: "user.xml"}
