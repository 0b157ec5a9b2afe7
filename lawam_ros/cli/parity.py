"""``lawam parity``: every case of a golden folder against this implementation."""

import argparse
import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lawam_ros.contract.errors import EXIT_CRITERION_MISSED, EXIT_DONE, UserMistake

if TYPE_CHECKING:
    from lawam_ros.model.parity import GoldenCase, ParityRow

UNDER = ("cases", "lerobot/cases")
PASSED, MISSED, NOT_RUN = "passed", "missed", "not run"


@dataclass(frozen=True)
class CaseReport:
    """Outcome of one case. worst: the row nearest to (or farthest beyond) its tolerance; not_compared: stored tensors without a row."""

    name: str
    kind: str
    result: str
    compared: int = 0
    worst: "ParityRow | None" = None
    reason: str = ""
    not_compared: tuple[str, ...] = ()

    def to_mapping(self) -> dict[str, Any]:
        worst = self.worst
        return {
            "case": self.name,
            "kind": self.kind,
            "result": self.result,
            "pass": self.result == PASSED,
            "compared": self.compared,
            "worst_tensor": worst.tensor if worst else None,
            # JSON knows no infinity: null, and the reason says what is wrong.
            "max_abs_error": worst.max_abs_error if worst and worst.max_abs_error < float("inf") else None,
            "tolerance": worst.tolerance if worst else None,
            "reason": self.reason,
            "not_compared": list(self.not_compared),
        }


def add_parser(subparsers: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    parser = subparsers.add_parser(
        "parity",
        help="compare with recorded outputs of the official implementation",
        description="Run every case of a golden folder in float32 on the CPU and compare all recorded tensors.",
    )
    parser.add_argument("--golden", type=Path, required=True, metavar="DIR", help="folder with cases/, runs/ and assets/")
    parser.add_argument("--json", action="store_true", help="print one JSON object as the last line")
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Exit code 0, or 1 when a case is missed or none could be run. Raises UserMistake where the folder is no golden folder."""
    reports: list[CaseReport] = []
    for report in walk(args.golden):
        if not reports:
            print(f"{'case':<22} {'kind':<18} {'compared':>8}  {'worst tensor':<42} {'max error':>9}  {'tolerance':>9}  result")
        reports.append(report)
        print(as_line(report), flush=True)
    counts = {result: sum(report.result == result for report in reports) for result in (PASSED, MISSED, NOT_RUN)}
    print("\n" + ", ".join(f"{count} {result}" for result, count in counts.items()))
    if args.json:
        print(json.dumps({"golden": str(args.golden), **_underscored(counts), "cases": [report.to_mapping() for report in reports]}))
    return EXIT_DONE if counts[PASSED] and not counts[MISSED] else EXIT_CRITERION_MISSED


def walk(folder: Path) -> Iterator[CaseReport]:
    """Reports of all cases, in the order of their names, as they are run."""
    from lawam_ros.model.parity import case_names

    found = [(under, name) for under in UNDER for name in case_names(folder, under)]
    if not found:
        raise UserMistake(f"--golden: expected a golden folder with cases/*.json and their .safetensors, found none in {folder}")
    for under, name in found:
        yield report_of(folder, name, under)


def report_of(folder: Path, name: str, under: str = "cases") -> CaseReport:
    """Run one case. A case that cannot be read or run because of what is in the folder is missed, with the reason."""
    from lawam_ros.model.parity import read_case, uncompared

    kind = "unreadable"
    try:
        case = read_case(folder, name, under)
        kind = kind_of(case)
        compare = _comparisons().get(kind)
        if compare is None:
            return CaseReport(name, kind, NOT_RUN, reason="no comparison for cases of this kind")
        rows = compare(case)
    except UserMistake as error:
        return CaseReport(name, kind, MISSED, reason=str(error))
    except (KeyError, ValueError, RuntimeError) as error:
        # A folder of unknown origin: its other cases are still worth running.
        return CaseReport(name, kind, MISSED, reason=f"the case does not have the form of its kind ({type(error).__name__}: {error})")
    if not rows:
        return CaseReport(name, kind, MISSED, reason="the case holds nothing that could be compared")
    worst = max(rows, key=_badness)
    failed = [row for row in rows if not row.ok]
    reason = f"{len(failed)} of {len(rows)} beyond tolerance" + (f"; {worst.note}" if worst.note else "") if failed else ""
    return CaseReport(name, kind, MISSED if failed else PASSED, len(rows), worst, reason, tuple(uncompared(case, rows)))


def kind_of(case: "GoldenCase") -> str:
    """What a case is about, by its settings: names are free."""
    for kind, keys in _MARKS:
        if all(key in case.settings for key in keys):
            return kind
    if any(key.startswith("ensemble/") for key in case.tensors):
        return "ensemble"
    return "unknown"


_MARKS = (
    ("inference", ("examples", "num_inference_steps", "guidance_scale")),
    ("LeRobot folder", ("run", "weights")),
    ("training", ("examples", "losses", "run")),
    ("stage 1", ("losses", "kl_beta")),
    ("heatmap", ("anchors_row_col",)),
    ("normalisation", ("stats",)),
    ("image preparation", ("target_hw",)),
    ("helpers", ("time_grid",)),
    ("helpers", ("prompts",)),
)


def _comparisons() -> "dict[str, Callable[[GoldenCase], list[ParityRow]]]":
    """Imported late: they bring torch and transformers."""
    from lawam_ros.cli.parity_ensemble import compare_ensemble
    from lawam_ros.cli.parity_heatmap import compare_heatmap
    from lawam_ros.model.parity_inference import compare_inference
    from lawam_ros.model.parity_lerobot import compare_lerobot
    from lawam_ros.model.parity_parts import compare_helpers, compare_image_preparation, compare_normalisation
    from lawam_ros.model.parity_stage1 import compare_stage1
    from lawam_ros.training.parity_policy import compare_policy_training
    from lawam_ros.training.parity_world_model import compare_world_model_training

    return {
        "inference": compare_inference,
        "LeRobot folder": compare_lerobot,
        "training": compare_policy_training,
        "stage 1": lambda case: compare_stage1(case) + compare_world_model_training(case),
        "heatmap": compare_heatmap,
        "ensemble": compare_ensemble,
        "normalisation": compare_normalisation,
        "image preparation": compare_image_preparation,
        "helpers": compare_helpers,
    }


def _badness(row: "ParityRow") -> tuple[bool, float]:
    """Order by how much of the tolerance is used; NaN and infinity are worst."""
    if not row.max_abs_error < float("inf"):
        return True, float("inf")
    return not row.ok, row.max_abs_error / row.tolerance if row.tolerance else row.max_abs_error


def as_line(report: CaseReport) -> str:
    worst = report.worst
    figures = f"{worst.max_abs_error:9.2e}  {worst.tolerance:9.2e}" if worst else f"{'-':>9}  {'-':>9}"
    name = worst.tensor if worst else "-"
    line = f"{report.name:<22} {report.kind:<18} {report.compared:>8}  {name:<42} {figures}  {report.result}"
    return line + (f": {report.reason}" if report.reason else "")


def _underscored(counts: dict[str, int]) -> dict[str, int]:
    return {result.replace(" ", "_"): count for result, count in counts.items()}
