"""Documentation that a change of the code would make untrue."""

import re
from pathlib import Path

import pytest

CHECKOUT = Path(__file__).resolve().parents[3]


def test_parameter_page_is_what_the_code_says():
    pytest.importorskip("rclpy")
    from lawam_ros.cli.parameter_page import page

    assert (CHECKOUT / "docs/parameters.md").read_text() == page(), "run: python -m lawam_ros.cli.parameter_page > docs/parameters.md"


@pytest.mark.parametrize(
    "document", sorted(p.relative_to(CHECKOUT).as_posix() for p in [CHECKOUT / "README.md", *CHECKOUT.glob("docs/*.md")])
)
def test_files_named_in_documents_exist(document):
    text = (CHECKOUT / document).read_text()
    named = re.findall(r"\]\((?!https?:|#)([^)#]+)", text)
    missing = [name for name in named if not (CHECKOUT / document).parent.joinpath(name).exists()]
    assert not missing


def test_make_targets_named_in_the_readme_exist():
    targets = set(re.findall(r"^([a-z-]+):", (CHECKOUT / "Makefile").read_text(), re.MULTILINE))
    named = set(re.findall(r"(?:^|`)make ([a-z-]+)", (CHECKOUT / "README.md").read_text(), re.MULTILINE))
    assert named <= targets
