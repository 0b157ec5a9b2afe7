"""``lawam inspect``: what a checkpoint folder holds."""

import argparse
import json
from typing import Any

from lawam_ros.contract.errors import EXIT_DONE


def add_parser(subparsers: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    parser = subparsers.add_parser(
        "inspect",
        help="print what is inside a checkpoint",
        description="Check a checkpoint (official, LeRobot's or our layout) and print what is inside.",
    )
    parser.add_argument(
        "checkpoint", metavar="CKPT", help="checkpoint folder, its weights file, name of a shipped one, or owner/name[@revision] on the hub"
    )
    parser.add_argument("--json", action="store_true", help="print one JSON object as the last line, with all statistics")
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Exit code 0. Raises UserMistake, one sentence, for a broken folder."""
    from lawam_ros.model.checkpoint_summary import summarise_checkpoint
    from lawam_ros.policies.choose import find_checkpoint

    summary = summarise_checkpoint(find_checkpoint(args.checkpoint))
    print(as_text(summary))
    if args.json:
        print(json.dumps(summary))
    return EXIT_DONE


def as_text(summary: dict[str, Any]) -> str:
    """The summary for people; what is only assumed is marked."""
    lines = [f"{summary['folder']}: {summary['layout']} layout, {summary['parameters']:,} parameters in {summary['weights']}", ""]
    for row in summary["components"]:
        note = "  (training only)" if row["training_only"] else ""
        size = (
            f"{row['parameters']:>13,}  {row['bytes'] / 1e6:>9.1f} MB  {', '.join(row['dtypes'])}" if row["tensors"] else f"{'absent':>13}"
        )
        lines.append(f"  {row['name']:<30} {size}{note}")
    lines += ["", *_facts(summary), "", f"action of {summary['action_tag']}, {len(summary['action'])} dimensions:"]
    for index, component in enumerate(summary["action"]):
        lines.append(f"  {index:>2} {component['name']:<36} {component['unit']}{_mark(component['assumed'])}")
    for tag, entry in summary["statistics"].items():
        for quantity in ("action", "state"):
            if entry[quantity]:
                lines += ["", *_statistics(f"{quantity} statistics of {tag}", entry[quantity])]
    return "\n".join([*lines, "", *(f"{digest}  {name}" for name, digest in summary["sha256"].items())])


def _facts(summary: dict[str, Any]) -> list[str]:
    rate, horizon, cameras, embodiments = summary["rate_hz"], summary["horizon"], summary["cameras"], summary["embodiments"]
    made_for, state, guidance = embodiments["made_for"], summary["state"], summary["guidance"]
    unconditional = "trained" if guidance["unconditional_trained"] else "not trained"
    names = [f"{kind} {', '.join(cameras[kind])}" for kind in ("primary", "wrist") if cameras[kind]]
    known = "rate         unknown" if rate["value"] is None else f"rate         {rate['value']:g} Hz{_mark(rate['assumed'])}"
    actions = f"{horizon['actions']} actions" if horizon["actions"] else "as many actions as the rate gives"
    lines = [
        f"embodiments  layers for {embodiments['layers_for']}, statistics for {', '.join(embodiments['statistics_for'])}",
        known,
        f"horizon      {horizon['seconds']:g} s, {actions} of {horizon['rows']} rows, {horizon['denoising_steps']} denoising steps",
        f"cameras      {'; '.join(names) + _mark(cameras['assumed']) if names else 'unknown'}",
        f"state        {_state(state)}",
        f"guidance     scale {guidance['scale']:g}, unconditional embedding {unconditional}",
        f"noise        of spread {summary['noise_scale']:g}",
    ]
    if made_for:
        named = ", ".join(f"{key} {value}" for key, value in made_for.items() if value is not None)
        lines.insert(1, f"made for     {named}")
    if made_for and summary["trained_delay_steps"] is not None:
        delay = summary["trained_delay_steps"]
        lines.append(f"delay        {f'trained for up to {delay} committed steps' if delay else 'not trained for committed steps'}")
        lines.append(f"data         {'sha256 ' + summary['data_sha256'] if summary['data_sha256'] else 'unknown'}")
    if summary["training"]:
        lines.append(f"training     {json.dumps(summary['training'])}")
    return lines


def _state(state: dict[str, Any]) -> str:
    if not state["used"]:
        return "not used"
    return f"{state['size']} numbers" + (f": {', '.join(state['slots'])}" if state["slots"] else "")


def _statistics(title: str, vectors: dict[str, Any]) -> list[str]:
    names = [name for name in vectors if name != "binary_dims"]
    rows = [title + ":", "     " + "".join(f"{name:>12}" for name in names)]
    for index in range(len(vectors[names[0]])):
        values = "".join(f"{vectors[name][index]:>12.4f}" for name in names)
        rows.append(f"  {index:>2} {values}" + ("  kept as 0 or 1" if index in vectors["binary_dims"] else ""))
    return rows


def _mark(assumed: bool) -> str:
    return "  (assumed)" if assumed else ""
