"""A policy far slower than its own horizon still does the task: stop and go."""

from lawam_ros.contract.load import load_contract
from lawam_ros.control.limit_checker import LimitChecker
from lawam_ros.sim.expert import Expert
from lawam_ros.sim.scenes import scene_of
from lawam_ros.sim.stepped_loop import SteppedLoop
from lawam_ros.sim.world import World

LATENCY_NS = 3_000_000_000


def test_a_policy_with_three_seconds_latency_picks_and_places():
    contract = load_contract("franka_pick_place")
    world = World(contract)
    world.reset(9100)
    loop, expert = SteppedLoop(contract, world), Expert(contract)
    measure = scene_of(contract).measure(world.parameters)
    checker = LimitChecker(contract.robot.arms[0].limits)
    pending, states = None, []
    while not measure.result().success and world.time_s < 150.0:
        states.append(loop.tick().status.state)
        checker.add(loop.command.stamp_ns, loop.command.positions_rad, loop.command.velocities_rad_s, loop.command.accelerations_rad_s2)
        if pending is None:
            expert.reset()
            expert.look(world.state(), loop.commanded)
            pending = expert.chunk(loop.now_ns, loop.sequence, loop.epoch)
        elif loop.now_ns >= pending.stamp_ns + LATENCY_NS:
            loop.offer(pending)
            pending = None
        loop.advance()
        measure.update(world.state())
    assert measure.result().success, measure.result()
    assert checker.violations == 0
    stops = sum(before == "RUN" and after == "HOLD" for before, after in zip(states, states[1:], strict=False))
    assert stops >= 3, "it stood still between chunks"
    assert world.time_s > stops * LATENCY_NS * 1e-9
