"""A ROS domain of one's own: never shared, given back, and not the one of the shell."""

import subprocess
import sys
from pathlib import Path

import pytest

from lawam_ros.cli.domain import FIRST, LAST, ReservedDomain
from lawam_ros.contract.errors import EnvironmentLacks

HOLD = """
import sys
from lawam_ros.cli.domain import ReservedDomain
domains = [ReservedDomain() for _ in range(int(sys.argv[1]))]
print(*[domain.number for domain in domains], flush=True)
sys.stdin.read()
"""


@pytest.fixture(autouse=True)
def own_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The lock files of other runs on this machine are left alone."""
    monkeypatch.setattr("tempfile.tempdir", None)
    monkeypatch.setenv("TMPDIR", str(tmp_path))


def holder(count: int) -> tuple["subprocess.Popen[str]", set[int]]:
    process = subprocess.Popen([sys.executable, "-c", HOLD, str(count)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    return process, {int(word) for word in process.stdout.readline().split()}


def end(process: "subprocess.Popen[str]") -> None:
    process.kill()
    process.communicate()


def test_processes_never_get_the_same_number_and_a_killed_one_gives_it_back() -> None:
    first, of_first = holder(2)
    second, of_second = holder(2)
    mine = ReservedDomain()
    assert len(of_first | of_second | {mine.number}) == 5
    end(first)
    again = [ReservedDomain(number) for number in of_first]
    assert {domain.number for domain in again} == of_first
    for domain in (mine, *again):
        domain.release()
    end(second)


def test_released_numbers_are_free_again() -> None:
    domain = ReservedDomain()
    with pytest.raises(EnvironmentLacks, match=f"ROS domain {domain.number} is held by another lawam run"):
        ReservedDomain(domain.number)
    domain.release()
    domain.release()
    again = ReservedDomain(domain.number)
    assert again.number == domain.number
    again.release()


def test_all_are_in_range_and_running_out_is_said() -> None:
    held = [ReservedDomain() for _ in range(FIRST, LAST + 1)]
    assert sorted(domain.number for domain in held) == list(range(1, 102))
    with pytest.raises(EnvironmentLacks, match="all ROS domains from 1 to 101 are held"):
        ReservedDomain()
    for domain in held:
        domain.release()


def test_the_domain_of_the_shell_is_ignored(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ROS_DOMAIN_ID", "42")
    domain = ReservedDomain()
    assert domain.number == FIRST
    domain.release()


def test_children_do_not_keep_the_lock() -> None:
    domain = ReservedDomain()
    code = "import sys; print('here', flush=True); sys.stdin.read()"
    child = subprocess.Popen([sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, close_fds=False)
    assert child.stdout is not None
    assert child.stdout.readline() == "here\n"
    domain.release()
    again = ReservedDomain(domain.number)
    again.release()
    end(child)


def test_a_number_comes_again_only_after_all_others() -> None:
    numbers = []
    for _ in range(FIRST, LAST + 2):
        domain = ReservedDomain()
        numbers.append(domain.number)
        domain.release()
    assert sorted(numbers[:-1]) == list(range(FIRST, LAST + 1)) and numbers[-1] == numbers[0]
