import numpy as np
import pytest

from lawam_ros.contract.errors import UserMistake
from lawam_ros.contract.load import Contract, load_contract
from lawam_ros.sim.renderer import choose_renderer
from lawam_ros.sim.start_recipe import HOME, RECOVERY, draw_start

choose_renderer()

from lawam_ros.sim import demonstration, start_recipe  # noqa: E402
from lawam_ros.sim.demonstration import Demonstrator  # noqa: E402
from lawam_ros.sim.start_recipe import Pull, Start  # noqa: E402


@pytest.fixture(scope="module")
def contract() -> Contract:
    return load_contract("franka_pick_place")


@pytest.fixture(scope="module")
def demonstrator(contract: Contract) -> Demonstrator:
    return Demonstrator(contract)


@pytest.fixture(scope="module")
def opener() -> Demonstrator:
    """A drawer world with everything on the table and everything changing."""
    things = ["world.objects=[cube,cabinet]", "world.perturb=[colour,light,camera,distractors,start,size]"]
    return Demonstrator(load_contract("franka_drawer", overrides=things))


def test_the_expert_succeeds_through_the_executor_within_the_limits(demonstrator: Demonstrator) -> None:
    for seed in (1, 10_001):
        attempt = demonstrator.demonstrate(seed)
        assert attempt.failure is None
        assert attempt.result.success and all(attempt.result.stages.values())
        assert attempt.result.final_error_m < 0.02
        assert attempt.commands > 1000 and attempt.limit_violations == 0


def test_the_expert_opens_drawers_within_the_limits(opener: Demonstrator) -> None:
    for seed in (2, 10_002):
        attempt = opener.demonstrate(seed)
        assert attempt.failure is None and attempt.limit_violations == 0
        assert attempt.result.success and all(attempt.result.stages.values())
        assert {moment.arms["arm"].wanted_gripper_m for moment in attempt.moments} == {0.0, 0.08}


@pytest.mark.parametrize(("work_s", "flip"), [(2.3, False), (3.0, True), (3.6, False)])
def test_a_hand_pulled_off_the_handle_finds_back(opener: Demonstrator, monkeypatch: pytest.MonkeyPatch, work_s: float, flip: bool) -> None:
    start = Start(RECOVERY, work_s, (Pull(np.array([0.05, -0.06, 0.04]), np.array([0.0, 0.1, 0.2]), flip),))
    monkeypatch.setattr(demonstration, "draw_start", lambda noise, seed, hands, policy_s: start)
    attempt = opener.demonstrate(4, "recovery")
    assert attempt.failure is None and attempt.limit_violations == 0 and attempt.result.success


def test_the_same_seed_gives_the_same_demonstration(contract: Contract, demonstrator: Demonstrator) -> None:
    first, again = demonstrator.demonstrate(5), Demonstrator(contract).demonstrate(5)
    assert len(first.moments) == len(again.moments)
    for one, other in zip(first.moments, again.moments, strict=True):
        np.testing.assert_array_equal(one.snapshot.qpos, other.snapshot.qpos)
        np.testing.assert_array_equal(one.arms["arm"].commanded_tcp.position_m, other.arms["arm"].commanded_tcp.position_m)


def test_moments_are_one_action_step_apart_and_commands_are_followed(contract: Contract, demonstrator: Demonstrator) -> None:
    moments = demonstrator.demonstrate(3).moments
    times = np.array([moment.snapshot.time_s for moment in moments])
    np.testing.assert_allclose(times - times[0], np.arange(len(times)) / contract.task.policy.action_hz, atol=0.0021)
    arms = [moment.arms["arm"] for moment in moments]
    lag = [np.linalg.norm(arm.measured_tcp.position_m - arm.commanded_tcp.position_m) for arm in arms]
    assert max(lag) < 0.01
    assert {arm.wanted_gripper_m for arm in arms} == {0.0, 0.08}


@pytest.mark.parametrize(("work_s", "flip"), [(1.2, False), (2.0, True), (3.2, True)])
def test_a_hand_pulled_away_finds_back(demonstrator: Demonstrator, monkeypatch: pytest.MonkeyPatch, work_s: float, flip: bool) -> None:
    start = Start(RECOVERY, work_s, (Pull(np.array([-0.04, 0.05, 0.02]), np.array([0.0, 0.0, 0.2]), flip),))
    monkeypatch.setattr(demonstration, "draw_start", lambda noise, seed, hands, policy_s: start)
    attempt = demonstrator.demonstrate(4, "recovery")
    assert attempt.failure is None and attempt.limit_violations == 0
    assert attempt.moments[0].snapshot.time_s > work_s


def test_an_impossible_task_is_reported_not_recorded(monkeypatch: pytest.MonkeyPatch) -> None:
    """A cube as heavy as the gripper cannot lift stays where it is."""
    heavy = Demonstrator(load_contract("franka_pick_place", overrides=["world.cube_mass_kg=2.0", "task.episode.timeout_s=4.0"]))
    attempt = heavy.demonstrate(0)
    assert attempt.failure is not None and "not done after 4 s" in attempt.failure
    assert not attempt.result.success


def test_starts_follow_the_seed_and_cover_all_kinds() -> None:
    assert all(draw_start("none", seed).kind == HOME for seed in range(20))
    starts = [draw_start("recovery", seed) for seed in range(400)]
    kinds = [start.kind for start in starts]
    assert 60 < kinds.count("home") < 140 and 60 < kinds.count("elsewhere") < 140 and 150 < kinds.count("recovery") < 250
    again = draw_start("recovery", 7)
    assert again.kind == starts[7].kind and again.work_s == starts[7].work_s
    for one, other in zip(again.pulls, starts[7].pulls, strict=True):
        np.testing.assert_array_equal(one.offset_m, other.offset_m)
    assert {len(draw_start("recovery", seed, hands=2).pulls) for seed in range(20)} == {0, 2}
    assert all(start.kind == "stuck" and 8.0 <= start.work_s <= 15.0 for start in (draw_start("stuck", seed) for seed in range(20)))
    short = [draw_start(noise, seed, policy_s=(1.5, 3.5)).work_s for noise in ("policy", "stuck") for seed in range(50)]
    assert 1.5 <= min(short) < 1.8 and 3.2 < max(short) <= 3.5
    with pytest.raises(UserMistake, match="noise"):
        draw_start("wild", 0)


class Wanderer:
    """Somebody at the wheel who never looks: the arm stays in HOLD."""

    def __init__(self):
        self.periods = 0

    def begin(self, loop, streams):
        self.loop, self.streams = loop, streams

    def period(self):
        self.loop.tick()
        self.loop.advance()
        self.periods += 1


def test_the_expert_takes_over_from_a_policy():
    demonstrator = Demonstrator(load_contract("franka_pick_place"))
    with pytest.raises(ValueError, match="expected a driver"):
        demonstrator.demonstrate(3, "policy")
    demonstrator.driver = wanderer = Wanderer()
    demonstration = demonstrator.demonstrate(3, "policy")
    assert demonstration.failure is None and demonstration.limit_violations == 0
    assert demonstration.start.kind == "policy" and wanderer.periods == round(demonstration.start.work_s * 250)
    first = demonstration.moments[0].snapshot.time_s
    assert first == pytest.approx(demonstration.start.work_s, abs=0.01), "nothing before the takeover is recorded"


def test_no_demonstration_from_where_nothing_is_left_to_do() -> None:
    demonstrator = Demonstrator(load_contract("franka_pick_place"), policy_s=(0.5, 0.6))
    demonstrator.driver = Wanderer()
    assert demonstrator.demonstrate(3, "stuck").failure is None
    easy = Demonstrator(load_contract("franka_pick_place", overrides=["world.success_radius_m=0.5"]), policy_s=(0.5, 0.6))
    easy.driver = Wanderer()
    assert easy.demonstrate(3, "stuck").failure == start_recipe.DONE_ALREADY
    assert easy.demonstrate(3, "policy").failure is None
