"""The folder of one training run: state, metrics, caches, checkpoint; and what decides whether a run may be continued."""

import json
import shutil
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torch import Tensor, nn

from lawam_ros.contract.errors import EnvironmentLacks, UserMistake
from lawam_ros.data.lerobot_layout import write_json
from lawam_ros.training.run_state import NamedParameters, RunState, load_state, save_state, with_prefix, without_prefix
from lawam_ros.training.trainer import Progress, progress_from


@dataclass(frozen=True)
class RunFolder:
    """Paths of a run."""

    root: Path

    @property
    def state(self) -> Path:
        return self.root / "state.safetensors"

    @property
    def plan(self) -> Path:
        return self.root / "plan.json"

    @property
    def metrics(self) -> Path:
        return self.root / "metrics.csv"

    @property
    def events(self) -> Path:
        return self.root / "events"

    @property
    def plot(self) -> Path:
        return self.root / "losses.png"

    @property
    def subgoals(self) -> Path:
        return self.root / "subgoals"

    @property
    def checkpoint(self) -> Path:
        return self.root / "checkpoint"

    @property
    def teacher(self) -> Path:
        return self.root / "teacher"

    @property
    def context(self) -> Path:
        return self.root / "context"

    def cache(self, name: str) -> Path:
        return self.root / "cache" / name


@dataclass(frozen=True)
class Continued:
    """Where a run that exists already stands. tensors: of the optimiser and the average."""

    progress: Progress
    tensors: dict[str, Tensor]


def continue_run(folder: RunFolder, module: nn.Module, plan: Mapping[str, Any], steps: int, first: bool = True) -> Continued | None:
    """Load the state of a run into ``module``, None where there is none. ``plan``: what must not change between the parts of a run;
    ``steps`` may. first: whether this is the first of the processes. Raises UserMistake naming what did change."""
    now = json.loads(json.dumps(plan))
    if not folder.state.is_file():
        if first and not folder.plan.is_file() and folder.root.is_dir() and any(path.name != "cache" for path in folder.root.iterdir()):
            raise UserMistake(f"{folder.root} holds other things than a training run; choose another --out")
        if first:
            write_json(folder.plan, now)  # from here on the folder is known as a run, also if it dies before its first state
        return None
    state = load_state(folder.state)
    before = state.facts.get("plan", {})
    changed = [key for key in now if before.get(key) != now[key]]
    if changed:
        listed = ", ".join(f"{key} was {before.get(key)!r}, is {now[key]!r}" for key in changed)
        raise UserMistake(f"{folder.root} holds a run with other settings ({listed}); give the same ones to go on, or choose another --out")
    module.load_state_dict(without_prefix("weights", state.tensors), strict=False)
    progress = progress_from(state.facts["progress"])
    return Continued(Progress(progress.step, steps, progress.seconds, progress.sums), state.tensors)


def state_saver(
    folder: RunFolder, module: nn.Module, parameters: NamedParameters, plan: Mapping[str, Any]
) -> Callable[[Progress, dict[str, Tensor]], None]:
    """What the loop calls to keep a state: all weights, trained or not, so that nothing else is needed to go on."""
    third_party = "vision_encoder.net."  # weights of an installed package

    def save(progress: Progress, tensors: dict[str, Tensor]) -> None:
        rest = {key: value for key, value in module.state_dict().items() if key not in parameters and third_party not in key}
        own = {f"weights.{key.removeprefix('model.')}": value for key, value in tensors.items() if key.startswith("model.")}
        other = {key: value for key, value in tensors.items() if not key.startswith("model.")}
        facts = {"progress": progress.as_mapping(), "plan": dict(plan)}
        save_state(folder.state, RunState(with_prefix("weights", rest) | own | other, facts))

    return save


def replace_folder(target: Path, write: Callable[[Path], object]) -> Path:
    """Write a folder beside ``target`` and put it in its place when it is complete. EnvironmentLacks where the disk is full."""
    part = target.with_name(target.name + ".part")
    shutil.rmtree(part, ignore_errors=True)
    try:
        write(part)
    except OSError as error:
        shutil.rmtree(part, ignore_errors=True)
        raise EnvironmentLacks(f"{target}: could not be written ({error}); make room on the disk and run the command again") from error
    shutil.rmtree(target, ignore_errors=True)
    part.rename(target)
    return target
