import dataclasses

import numpy as np
import pytest

from lawam_ros.contract.errors import UserMistake
from lawam_ros.contract.paths import urdf_dir
from lawam_ros.contract.robot import JointLimits
from lawam_ros.contract.rotations import rpy_from_quat
from lawam_ros.control.inverse_kinematics import InverseKinematics
from lawam_ros.control.kinematics import Chain

READY = [0, -np.pi / 4, 0, -3 * np.pi / 4, 0, np.pi / 2, np.pi / 4]
GENERIC = [0.3, -0.5, 0.2, -2.0, -0.4, 1.7, 0.9]
VECTORS = [
    (READY, "panda_link8", [0.306890567, 0, 0.590282052], [0.923879533, -0.382683432, 0, 0]),
    (READY, "panda_hand_tcp", [0.306890567, 0, 0.486882052], [1, 0, 0, 0]),
    ([0, 0, 0, -np.pi / 2, 0, np.pi / 2, np.pi / 4], "panda_hand_tcp", [0.5545, 0, 0.5211], [1, 0, 0, 0]),
    (GENERIC, "panda_link8", [0.364484376, 0.183351004, 0.677933918], [0.945733745, -0.192174831, 0.227563721, 0.129889455]),
    (GENERIC, "panda_hand_tcp", [0.403828739, 0.148903736, 0.588732086], [0.947286174, 0.184370242, 0.160534922, 0.207087075]),
    (
        [0, -np.pi / 5, 0, -4 * np.pi / 5, 0, 3 * np.pi / 5, 0],
        "panda_hand_tcp",
        [0.359703367, 0, 0.386541290],
        [0.923879533, 0.382683432, 0, 0],
    ),
]


@pytest.mark.parametrize(("joints", "frame", "position", "quat"), VECTORS)
def test_poses_of_the_vendors_geometry(urdf_text, joints, frame, position, quat):
    pose = Chain.from_urdf(urdf_text, "panda_link0", frame).pose(np.array(joints))
    np.testing.assert_allclose(pose.position_m, position, atol=2e-9)
    assert abs(np.dot(pose.quat_xyzw, quat)) == pytest.approx(1.0, abs=1e-9)


@pytest.mark.parametrize(("joints", "frame", "position", "quat"), VECTORS)
def test_the_fr3_has_the_same_geometry(joints, frame, position, quat):
    text = (urdf_dir() / "franka_fr3.urdf").read_text(encoding="utf-8")
    pose = Chain.from_urdf(text, "fr3_link0", frame.replace("panda", "fr3")).pose(np.array(joints))
    np.testing.assert_allclose(pose.position_m, position, atol=2e-9)
    assert abs(np.dot(pose.quat_xyzw, quat)) == pytest.approx(1.0, abs=1e-9)


@pytest.mark.parametrize(
    ("joints", "condition", "digits"),
    [(READY, 8.18, 2), ([0, 0, 0, -np.pi / 2, 0, np.pi / 2, np.pi / 4], 12.7, 1), (GENERIC, 9.73, 2), (VECTORS[5][0], 8.14, 2)],
)
def test_condition_of_the_jacobian_at_published_postures(urdf_text, joints, condition, digits):
    jacobian = Chain.from_urdf(urdf_text, "panda_link0", "panda_hand_tcp").jacobian(np.array(joints))
    assert round(float(np.linalg.cond(jacobian)), digits) == condition


def test_jacobian_is_the_derivative_of_the_pose(urdf_text):
    chain = Chain.from_urdf(urdf_text, "panda_link0", "panda_hand_tcp")
    rng = np.random.default_rng(1)
    for _ in range(10):
        q = rng.uniform(-1.5, 1.5, 7)
        jacobian, h = chain.jacobian(q), 1e-6
        for j in range(7):
            up, down = chain.transform(q + h * np.eye(7)[j]), chain.transform(q - h * np.eye(7)[j])
            spin = (up[:3, :3] - down[:3, :3]) / (2 * h) @ chain.transform(q)[:3, :3].T
            np.testing.assert_allclose(jacobian[:3, j], (up[:3, 3] - down[:3, 3]) / (2 * h), atol=1e-8)
            np.testing.assert_allclose(jacobian[3:, j], [spin[2, 1], spin[0, 2], spin[1, 0]], atol=1e-8)


def test_stacked_arms_are_the_arms_one_by_one(urdf_text):
    chains = [Chain.from_urdf(urdf_text, "panda_link0", frame) for frame in ("panda_hand_tcp", "panda_link8")]
    both, joints = Chain.stacked(chains), np.array([GENERIC, READY])
    transforms, jacobians = both.transform_and_jacobian(joints)
    np.testing.assert_allclose(both.transform(joints), transforms, atol=1e-15)
    for chain, q, transform, jacobian in zip(chains, joints, transforms, jacobians, strict=True):
        np.testing.assert_allclose(transform, chain.transform(q), atol=1e-15)
        np.testing.assert_allclose(jacobian, chain.jacobian(q), atol=1e-15)


def test_any_axis_and_fixed_joints_in_between():
    urdf = """<robot name="r"><link name="a"/><link name="b"/><link name="c"/><link name="d"/>
      <joint name="first" type="revolute"><parent link="a"/><child link="b"/><origin xyz="0 0 1"/><axis xyz="0 1 0"/></joint>
      <joint name="stiff" type="fixed"><parent link="b"/><child link="c"/><origin xyz="1 0 0" rpy="0 0 1.5707963267948966"/></joint>
      <joint name="second" type="continuous"><parent link="c"/><child link="d"/><origin xyz="1 0 0"/><axis xyz="-2 0 0"/></joint></robot>"""
    chain = Chain.from_urdf(urdf, "a", "d")
    assert chain.joint_names == ("first", "second")
    # Half pi about +y turns +x to -z; the second link lies along +y of b.
    np.testing.assert_allclose(chain.transform(np.array([np.pi / 2, 0.0]))[:3, 3], [0, 1, 0], atol=1e-12)
    turned = chain.transform(np.array([0.0, 0.3]))[:3, :3] @ chain.transform(np.zeros(2))[:3, :3].T
    assert turned[0, 2] == pytest.approx(-np.sin(0.3))


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("not xml", "not XML"),
        ("<robot/>", "no way from frame"),
        ('<robot><joint name="j" type="prismatic"><parent link="a"/><child link="b"/></joint></robot>', "prismatic"),
        ('<robot><joint name="j" type="fixed"><parent link="a"/><child link="b"/></joint></robot>', "no joint moves"),
        ('<robot><joint name="j" type="revolute"><child link="b"/></joint></robot>', "no <parent"),
        ('<robot><joint name="j" type="revolute"><parent link="a"/><child link="b"/><axis xyz="1 nan 0"/></joint></robot>', "finite"),
    ],
)
def test_broken_descriptions_are_named(text, said):
    with pytest.raises(UserMistake, match=said):
        Chain.from_urdf(text, "a", "b")


def made_ik(contract, urdf_text, start):
    arm = contract.robot.arms[0]
    chain = Chain.from_urdf(urdf_text, arm.base_frame, arm.tcp_frame)
    ik = InverseKinematics([arm], [chain], 0.004)
    return arm, chain, ik, ik.start(np.array([start]))[0]


def test_ik_follows_a_moving_target_and_arrives(contract, urdf_text):
    _, chain, ik, (position, quat) = made_ik(contract, urdf_text, contract.robot.arms[0].home_rad)
    worst = 0.0
    for k in range(500):
        goal = position + np.array([0.1, 0.15, -0.1]) * min(k / 400, 1.0)
        step = ik.step([goal], [quat])
        worst = max(worst, float(np.linalg.norm(chain.transform(step.position_rad[0])[:3, 3] - goal)))
    assert worst < 2e-4
    assert np.linalg.norm(chain.transform(ik.position_rad[0])[:3, 3] - goal) < 1e-6
    assert np.abs(step.velocity_rad_s).max() < 1e-3


def test_ik_keeps_limits_when_the_target_is_out_of_reach(contract, urdf_text):
    arm, _, ik, (position, quat) = made_ik(contract, urdf_text, contract.robot.arms[0].home_rad)
    for k in range(1500):
        step = ik.step([position + np.array([0.8, 0.3, 0.6]) * min(k / 500, 1.0)], [quat])
        assert np.all(np.isfinite(step.position_rad))
        assert np.all(step.position_rad <= arm.limits.upper_rad + 1e-12) and np.all(step.position_rad >= arm.limits.lower_rad - 1e-12)
        assert np.all(np.abs(step.velocity_rad_s) <= arm.limits.velocity_rad_s * (1 + 1e-9))
    assert step.error_m[0] > 0.1
    # At the end of reach the joints come to rest instead of shaking.
    assert np.abs(step.velocity_rad_s).max() < 0.02


def test_ik_returns_to_the_home_posture_only_in_motion(contract, urdf_text):
    start = contract.robot.arms[0].home_rad + np.array([0.3, 0, -0.3, 0, 0.2, 0, 0])
    arm, _, ik, (position, quat) = made_ik(contract, urdf_text, start)
    for _ in range(100):
        ik.step([position], [quat])
    np.testing.assert_allclose(ik.position_rad[0], start, atol=1e-9)
    for k in range(3000):
        ik.step([position + np.array([0.0, 0.05 * np.sin(k / 50), 0.0])], [quat])
    assert np.linalg.norm(ik.position_rad[0] - arm.home_rad) < 0.6 * np.linalg.norm(start - arm.home_rad)


def stretch(contract, urdf_text, way):
    """Paces and singular values while the target moves out to the end of reach, or back from there."""
    _, chain, ik, (position, quat) = made_ik(contract, urdf_text, contract.robot.arms[0].home_rad)
    paces, smallest = [], []
    for x in way:
        step = ik.step([position + np.array([x, 0.0, 0.1])], [quat])
        paces.append(step.pace[0])
        smallest.append(np.linalg.svd(chain.jacobian(step.position_rad[0]))[1][-1])
    return np.array(paces), np.array(smallest)


def test_the_way_into_a_singularity_is_slow_and_the_way_out_is_not(contract, urdf_text):
    out = np.linspace(0.0, 0.4, 1500)
    paces, smallest = stretch(contract, urdf_text, np.concatenate([out, out[::-1]]))
    assert smallest[:1500].min() < 0.04 and (paces[smallest > 0.085] == 1.0).all()
    inwards = np.flatnonzero((np.diff(smallest[:1500]) < -1e-6) & (smallest[1:1500] < 0.07))
    assert len(inwards) > 50 and paces[inwards + 1].max() < 0.9
    assert (np.diff(paces[inwards]) <= 1e-9).mean() > 0.95
    outwards = 1500 + np.flatnonzero(np.diff(smallest[1500:]) > 1e-6) + 1
    assert len(outwards) > 50 and np.median(paces[outwards]) == 1.0


def test_a_plan_beyond_reach_ends_in_rest_within_the_limits(bench):
    """The whole executor: a reach that stretches the arm through its singularity; slow on the way, no shaking, no violation."""
    for k in range(2200):
        if k % 100 == 0 and k < 1000:
            steps = np.outer(np.minimum(np.arange(1, 25) / 20 * 0.3, 0.4), [1.0, 0.0, 0.5])
            bench.offer(bench.chunk(bench.rows(steps)))
        bench.tick()
    assert bench.violations == []
    assert (bench.status.state, bench.status.reason) == ("HOLD", "ik_error") and bench.status.hold_since_ns is not None
    assert np.abs(bench.out.command.velocities_rad_s).max() == 0.0


X1 = """<robot name="x1"><link name="base"/>{links}</robot>"""
X1_JOINTS = [
    ("0 0 0.0625", "0 0 1"),
    ("0.025 0 0.053", "0 1 0"),
    ("-0.26 0 0", "0 1 0"),
    ("0.2315 0 0.075", "0 1 0"),
    ("0.0825 0.0025 0.085", "0 0 1"),
    ("0.0395 0 -0.0945", "1 0 0"),
]


def x1_chain():
    """The six-jointed arm of the Quanta X1, as its published figures say."""
    links = "".join(
        f'<link name="l{i}"/><joint name="arm_joint{i}" type="revolute"><parent link="{"base" if i == 1 else f"l{i - 1}"}"/>'
        f'<child link="l{i}"/><origin xyz="{origin}"/><axis xyz="{axis}"/></joint>'
        for i, (origin, axis) in enumerate(X1_JOINTS, start=1)
    )
    return Chain.from_urdf(X1.format(links=links), "base", "l6")


@pytest.mark.parametrize(
    ("joints", "position", "rpy"),
    [
        ([0.0] * 6, [0.1185, 0.0025, 0.181], [0, 0, 0]),
        ([0.2, 0.8, -1.0, 0.3, 0.1, -0.2], [0.171297079, 0.041298109, 0.399897011], [-0.189983582, 0.099498757, 0.300498726]),
        ([0, 1.2, -1.5, 0.3, 0, 0], [0.251783366, 0.0025, 0.488393327], [0, 0, 0]),
    ],
)
def test_an_arm_of_six_joints(joints, position, rpy):
    pose = x1_chain().pose(np.array(joints))
    np.testing.assert_allclose(pose.position_m, position, atol=1e-9)
    np.testing.assert_allclose(rpy_from_quat(pose.quat_xyzw), rpy, atol=1e-8)


def test_ik_of_an_arm_of_six_joints_follows(contract):
    start, bound = np.array([0.2, 1.2, -1.5, 0.3, 0.1, -0.2]), np.full(6, 3.0)
    limits = JointLimits(-bound, bound, 0.5 * bound, bound, 100.0 * bound)
    arm = dataclasses.replace(contract.robot.arms[0], joints=tuple(f"arm_joint{i}" for i in range(1, 7)), home_rad=start, limits=limits)
    chain = x1_chain()
    ik = InverseKinematics([arm], [chain], 0.004)
    [(position, quat)] = ik.start(start[None])
    for k in range(500):
        goal = np.array(position) + np.array([0.05, 0.08, -0.06]) * min(k / 400, 1.0)
        step = ik.step([goal], [quat])
    assert np.linalg.norm(chain.transform(step.position_rad[0])[:3, 3] - goal) < 1e-5
    assert step.error_rad[0] < 1e-4 and step.pace == (1.0,)
