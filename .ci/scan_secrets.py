"""Look through every file that git tracks, or would take, for secrets, paths of one machine and hosts of package registries.

Exit code 1 and a line per find; the find itself is not printed, so that a secret does not travel into a log.
"""

import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

# Letters in brackets keep a pattern from finding itself here.
PATTERNS = {
    "private key": rb"-----BEGIN [A-Z ]*PRIVATE [K]EY",
    "Hugging Face token": rb"\b[h]f_[A-Za-z0-9]{20,}",
    "Weights & Biases key": rb"\b[w]andb_v1_[A-Za-z0-9_]{16,}|(?i:[w]andb)[^\n]{0,24}\b[0-9a-f]{40}\b",
    "GitHub token": rb"\b(gh[pousr]_[A-Za-z0-9]{30,}|github_[p]at_[A-Za-z0-9_]{30,})",
    "cloud or chat token": rb"\b(AKIA[0-9A-Z]{16}\b|xox[abprs]-[A-Za-z0-9-]{20,}|sk-[A-Za-z0-9_-]{24,})",
    "assigned secret": rb"(?i)(api[_-]?key|secret|token|passw(or)?d)[\"']?\s*[:=]\s*[\"'][A-Za-z0-9+/_=-]{16,}[\"']",
    "password in an address": rb"[a-z]+://[^/\s:@\"']+:[^/\s:@\"']+@",
    "path of one machine": rb"(?<![A-Za-z0-9_.~-])/(w[o]rk|f[a]rm|r[o]ot|h[o]me/[a-z][a-z0-9]*)/",
    "package registry": rb"pyth[o]nhosted|pypi\.[o]rg/simple|deb\.[d]ebian\.org|registry\.[n]pmjs",
    "package registry option": rb"--(extra-)?[i]ndex-url[= ]+http|--find-[l]inks[= ]",
}
RULES = {name: re.compile(pattern) for name, pattern in PATTERNS.items()}


def finds(content: bytes) -> Iterator[tuple[int, str]]:
    """(line number, name of the rule) for each match."""
    for name, rule in RULES.items():
        for match in rule.finditer(content):
            yield content.count(b"\n", 0, match.start()) + 1, name


def listed_files(top: Path) -> list[Path]:
    listing = subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"], cwd=top, capture_output=True, check=True
    )
    paths = [top / name.decode() for name in listing.stdout.split(b"\0") if name]
    return [path for path in paths if path.is_file()]


def main(top: Path) -> int:
    files = listed_files(top)
    found = [f"{path.relative_to(top)}:{line}: {name}" for path in files for line, name in sorted(finds(path.read_bytes()))]
    print("\n".join(found) if found else f"secret scan: nothing found in {len(files)} files")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1]) if len(sys.argv) > 1 else Path(__file__).resolve().parents[1]))
