"""Open loop: a policy looks at the observations of a recording, and each chunk is held against what the arms were told or did next."""

import argparse
import json
import time
from collections.abc import Generator, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lawam_ros.cli.bag_to_lerobot import cameras_of
from lawam_ros.cli.demo import make_folder
from lawam_ros.cli.frame_rows import STAMP, EpisodeRows, chains_of
from lawam_ros.cli.open_loop_pictures import Stretch, draw
from lawam_ros.cli.run_figures import percentile
from lawam_ros.contract.errors import EXIT_CRITERION_MISSED, EXIT_DONE, LawamError, UserMistake
from lawam_ros.contract.load import Contract
from lawam_ros.contract.records import Observation
from lawam_ros.contract.robot import CARTESIAN_COMPONENTS
from lawam_ros.contract.wire import BadMessage
from lawam_ros.control.kinematics import Chain
from lawam_ros.control.measured import robot_state
from lawam_ros.data.action_space import ABSOLUTE_WIDTH
from lawam_ros.data.bag_cuts import AUTO, Span, spans_of
from lawam_ros.data.bag_frames import BagFrames, has_commands
from lawam_ros.data.bag_reader import Bag, BagMessage
from lawam_ros.data.bag_streams import BagStreams, bag_streams, picture
from lawam_ros.data.episode_schema import REFERENCE
from lawam_ros.data.open_loop import (
    ComparedChunk,
    component_errors,
    errors_mapping,
    errors_table,
    is_finite,
    position_better,
    why_no_figure,
)
from lawam_ros.data.recorded_run import RecordedRun, read_run
from lawam_ros.data.replay_setup import contract_of, remap_rules, run_info_of
from lawam_ros.observe.frame_stream import Frame
from lawam_ros.policies.choose import RECORDED, check_checkpoint, choose_policy
from lawam_ros.policies.committed import rows_at
from lawam_ros.policies.interface import Inference, Policy, Targets
from lawam_ros.policies.noise import noise_seed

_MOST_STRETCHES = 20
"""Each is another pass over the recording."""


@dataclass(frozen=True)
class Watched:
    """A stretch of a recording: its rows, and what the policy answered, by number of the frame."""

    rows: EpisodeRows
    answers: Mapping[int, Inference]


class Onlooker:
    """Shows a policy what it would have seen live; unlike live, every chunk stands for itself (no real-time chunking)."""

    def __init__(self, bag: Bag, streams: BagStreams, contract: Contract, policy: Policy, stride: int, seed: int) -> None:
        self._bag, self._streams, self._contract, self._policy = bag, streams, contract, policy
        self._stride, self._seed = stride, seed
        self._chains: Mapping[str, Chain] = chains_of(contract)
        self.problems: list[str] = []
        self.chunk_ms: list[float] = []

    def watch(self, run: RecordedRun, span: Span, instruction: str) -> Iterator[Frame[BagMessage] | Watched]:
        """Every frame as it comes, and all of a stretch where it ends: at the end of the span or before a gap, behind which another begins.

        Raises KeyError for a joint of the robot file that is not measured.
        """
        for _ in range(_MOST_STRETCHES):
            last_ns = yield from self._stretch(run, span, instruction)
            if last_ns is None:
                return
            span = (last_ns + 1, span[1])
        self.problems.append(f"more than {_MOST_STRETCHES} gaps; what follows is left out")

    def _stretch(self, run: RecordedRun, span: Span, instruction: str) -> Generator[Frame[BagMessage] | Watched, None, int | None]:
        """Frames up to the first gap; returns the instant of the last one before it, None at the end of the span."""
        reader = BagFrames(self._bag, self._streams, self._contract.robot, run, span, self._contract.task.policy.action_hz)
        rows, last_ns = EpisodeRows(self._contract, self._chains, span[1]), span[0]
        answers: dict[int, Inference] = {}
        for frame in reader:
            last_ns = frame.observation.stamp_ns
            for index, known in enumerate(rows.add(frame), start=rows.count):
                if index % self._stride == 0:
                    try:
                        observation = self._observation(known, instruction)
                    except BadMessage as error:
                        self.problems.append(str(error))
                    else:
                        began_s = time.monotonic()
                        answers[index] = self._policy.look(observation, noise_seed(self._seed, observation.stamp_ns))
                        self.chunk_ms.append((time.monotonic() - began_s) * 1e3)
                yield known
            if rows.complete:
                break
        if reader.problem:
            self.problems.append(reader.problem)
        yield Watched(rows, answers)
        return last_ns if reader.fault else None

    def compared(self, watched: Watched) -> Stretch:
        """Chunks whose whole horizon lies in the stretch."""
        rows, wanted = watched.rows.columns(), watched.rows.wanted()
        commanded = rows[REFERENCE]
        elapsed_ns = rows[STAMP][:, 0] - rows[STAMP][0, 0]
        arms = [arm.name for arm in self._contract.robot.arms]
        track = Targets(tuple(f"{arm}/{part}" for arm in arms for part in CARTESIAN_COMPONENTS), wanted, elapsed_ns * 1e-9)
        chunks = []
        for index, inference in watched.answers.items():
            targets = self._policy.place(inference, _by_arm(commanded[index], arms))
            # Whole nanoseconds: the instant of a frame is met exactly, and with it the opening told there.
            at_ns = elapsed_ns[index] + np.round(targets.time_from_start_s * 1e9).astype(np.int64)
            if at_ns[-1] <= elapsed_ns[-1]:
                predicted = {arm: _columns(targets, arm) for arm in arms}
                truth = {arm: rows_at(track, arm, at_ns * 1e-9) for arm in arms}
                stamp_ns = int(rows[STAMP][index, 0])
                chunks.append(ComparedChunk(stamp_ns, targets.time_from_start_s, _by_arm(wanted[index], arms), predicted, truth))
        return Stretch(rows[STAMP][:, 0], {arm: _columns(track, arm) for arm in arms}, chunks)

    def _observation(self, frame: Frame[BagMessage], instruction: str) -> Observation:
        aligned, robot = frame.observation, self._contract.robot
        tcp, gripper_m, joints_rad = robot_state(robot, self._chains, aligned.joints)
        return Observation(
            stamp_ns=aligned.stamp_ns,
            images={name: picture(self._bag.decode(message), robot.camera(name)) for name, message in aligned.images.items()},
            image_stamps_ns=aligned.image_stamps_ns,
            tcp=tcp,
            gripper_m=gripper_m,
            joints_rad=joints_rad,
            instruction=instruction,
        )


def evaluate_bag(args: argparse.Namespace) -> int:
    """Exit code 0, or 1 where the policy is not as much better than staying as --require asks. Raises UserMistake."""
    remap = remap_rules(args.remap)
    with Bag(args.bag) as bag:
        info = run_info_of(bag, remap)
        contract = contract_of(bag, info, args.task, args.robot, args.set, remap)
        cameras_of(bag, contract, remap)
        checkpoint = _checkpoint(args.checkpoint or str(info.get("checkpoint", "")) or contract.task.checkpoint)
        make_folder(args.out, "choose another folder")
        policy = _policy(checkpoint, contract, args.device)
        onlooker = Onlooker(bag, _policy_streams(bag, contract, remap), contract, policy, args.stride, args.seed)
        stretches = _watch_all(onlooker, bag, contract, remap, args.instruction)
        truth = "recorded commands" if has_commands(bag_streams(bag.topics, contract.robot, remap), contract.robot) else "measured motion"
    chunks = [chunk for stretch in stretches for chunk in stretch.chunks]
    if not chunks:
        needed_s = (contract.task.policy.steps + contract.task.policy.action_offset_steps) / contract.task.policy.action_hz
        reasons = "; ".join(onlooker.problems) or "it is shorter"
        raise UserMistake(f"{args.bag}: expected at least {needed_s:.2f} s with all cameras and joint states, found none: {reasons}")
    if not all(map(is_finite, chunks)):
        raise LawamError(f"{policy.description} answered with numbers that are not finite; look at its training")
    errors, times_s = component_errors(chunks), chunks[0].time_from_start_s
    gain = position_better(errors)
    onlooker.problems += [why] if (why := why_no_figure(errors)) else []
    summary = {
        "bag": str(args.bag),
        "task": contract.task.name,
        "robot": contract.robot.name,
        "checkpoint": checkpoint,
        "truth": truth,
        "chunks": len(chunks),
        "seconds": round(sum(stretch.seconds for stretch in stretches), 3),
        "stride": args.stride,
        "seed": args.seed,
        "time_from_start_s": [round(float(time_s), 6) for time_s in times_s],
        "components": errors_mapping(errors),
        "position_better": None if gain is None else round(gain, 4),
        "chunk_ms_p50": percentile(onlooker.chunk_ms, 0.5),
        "problems": onlooker.problems,
        "plots": [str(path) for path in draw(args.out, errors, times_s, stretches)],
    }
    _print(summary, errors_table(errors, times_s))
    if args.json:
        print(json.dumps(summary))
    missed = args.require is not None and (gain is None or gain < args.require)
    return EXIT_CRITERION_MISSED if missed else EXIT_DONE


def _checkpoint(text: str) -> str:
    if text.startswith(RECORDED):
        raise UserMistake(f"{text} does not look at anything, it repeats a recording; name a policy with --checkpoint")
    check_checkpoint(text)
    return text


def _policy(checkpoint: str, contract: Contract, device: str) -> Policy:
    import torch

    torch.set_num_threads(1)
    policy = choose_policy(checkpoint, contract, ("cuda" if torch.cuda.is_available() else "cpu") if device == "auto" else device)
    policy.warm_up()
    return policy


def _policy_streams(bag: Bag, contract: Contract, remap: Mapping[str, str]) -> BagStreams:
    """Only the cameras that the policy looks at, as in the policy node: another one may be missing or stand still."""
    streams, policy = bag_streams(bag.topics, contract.robot, remap), contract.task.policy
    return replace(streams, cameras={name: streams.cameras[name] for name in policy.primary_cameras + policy.wrist_cameras})


def _watch_all(onlooker: Onlooker, bag: Bag, contract: Contract, remap: Mapping[str, str], instruction: str) -> list[Stretch]:
    """Stretches of the recording, cut as ``lawam convert`` cuts it."""
    from tqdm import tqdm

    streams = bag_streams(bag.topics, contract.robot, remap)
    run = read_run(bag, streams, contract.robot)
    onlooker.problems += run.problems
    spans = spans_of(bag, streams, run, AUTO, pause_s=1.0)
    frames = sum(round((end_ns - start_ns) * 1e-9 * contract.task.policy.action_hz) for start_ns, end_ns in spans)
    stretches = []
    with tqdm(total=frames, unit="frame", desc="open loop") as progress:
        for span in spans:
            said = instruction or run.instruction(*span) or contract.task.instruction
            try:
                for one in onlooker.watch(run, span, said):
                    if isinstance(one, Watched):
                        stretches += [onlooker.compared(one)] if one.rows.count else []
                    else:
                        progress.update()
            except KeyError as missing:
                raise UserMistake(f"{bag.path}: expected joint {missing} in the joint states, found none; is it the robot?") from missing
    return stretches


def _by_arm(row: NDArray[np.float64], arms: Sequence[str]) -> dict[str, NDArray[np.float64]]:
    return {arm: row[index * ABSOLUTE_WIDTH : (index + 1) * ABSOLUTE_WIDTH] for index, arm in enumerate(arms)}


def _columns(targets: Targets, arm: str) -> NDArray[np.float64]:
    """Absolute rows (N, 8) of one arm."""
    return targets.values[:, [targets.components.index(f"{arm}/{part}") for part in CARTESIAN_COMPONENTS]]


def _print(summary: Mapping[str, Any], table: str) -> None:
    print(f"\n{summary['bag']}, {summary['seconds']:.1f} s")
    print(f"{summary['chunks']} chunks of {summary['checkpoint']} against {summary['truth']}")
    print(f"\n{table}\n")
    print(f"chunk              p50 {summary['chunk_ms_p50']:.0f} ms")
    for path in summary["plots"]:
        print(f"plot               {path}")
    for problem in summary["problems"]:
        print(f"problem            {problem}")
