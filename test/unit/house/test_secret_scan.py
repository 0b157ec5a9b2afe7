"""The secret scan finds what it says it finds, and stays quiet on a clean tree."""

import subprocess
import sys
from pathlib import Path

import pytest

SCAN = Path(__file__).resolve().parents[3] / ".ci" / "scan_secrets.py"

# In pieces, so that this file does not trip the scan itself.
PLANTED = {
    "private key": "-----BEGIN RSA PRIVATE " + "KEY-----",
    "Hugging Face token": "h" + "f_" + "aB3" * 10,
    "Weights & Biases key": "wan" + "db_key: " + "0123456789" * 4,
    "GitHub token": "gh" + "p_" + "a1B2" * 9,
    "cloud or chat token": "AK" + "IA" + "ABCDEFGH12345678",
    "assigned secret": "api_" + "key = '" + "x1y2" * 6 + "'",
    "password in an address": "https://user:" + "pass" + "@host.example/x",
    "path of one machine": "open('/ro" + "ot/data/x')",
    "package registry": "https://files.pytho" + "nhosted.org/packages",
    "package registry option": "pip install --ind" + "ex-url https://host.example x",
}


def scan(folder: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, str(SCAN), str(folder)], capture_output=True, text=True, timeout=60, check=False)


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    subprocess.run(["git", "init", "--quiet", str(tmp_path)], check=True)
    (tmp_path / "clean.py").write_text("speed_m_per_s = 0.25  # see https://docs.ros.org/en/jazzy\npath = '/tmp/x'\n")
    return tmp_path


def test_a_clean_tree_passes(repository: Path) -> None:
    result = scan(repository)
    assert result.returncode == 0, result.stdout + result.stderr


@pytest.mark.parametrize("rule", PLANTED)
def test_a_planted_secret_is_found_and_not_repeated(repository: Path, rule: str) -> None:
    (repository / "note.txt").write_text(f"first line\n{PLANTED[rule]}\n")
    result = scan(repository)
    assert result.returncode == 1
    assert f"note.txt:2: {rule}" in result.stdout
    assert PLANTED[rule] not in result.stdout


def test_an_ignored_file_is_not_looked_at(repository: Path) -> None:
    (repository / ".gitignore").write_text("local.txt\n")
    (repository / "local.txt").write_text(PLANTED["GitHub token"])
    assert scan(repository).returncode == 0


def test_a_folder_that_git_does_not_know_is_an_error_not_a_pass(tmp_path: Path) -> None:
    assert scan(tmp_path / "absent").returncode != 0
