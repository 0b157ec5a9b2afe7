import numpy as np
import pytest

from lawam_ros.contract.errors import UserMistake
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
    ik = InverseKinematics(arm, chain, 0.004)
    return arm, chain, ik, ik.start(start)


def test_ik_follows_a_moving_target_and_arrives(contract, urdf_text):
    _, chain, ik, (position, quat) = made_ik(contract, urdf_text, contract.robot.arms[0].home_rad)
    worst = 0.0
    for k in range(500):
        goal = position + np.array([0.1, 0.15, -0.1]) * min(k / 400, 1.0)
        step = ik.step(goal, quat)
        worst = max(worst, float(np.linalg.norm(chain.transform(step.position_rad)[:3, 3] - goal)))
    assert worst < 2e-4
    assert np.linalg.norm(chain.transform(ik.position_rad)[:3, 3] - goal) < 1e-6
    assert np.abs(step.velocity_rad_s).max() < 1e-3


def test_ik_keeps_limits_when_the_target_is_out_of_reach(contract, urdf_text):
    arm, _, ik, (position, quat) = made_ik(contract, urdf_text, contract.robot.arms[0].home_rad)
    for k in range(1500):
        step = ik.step(position + np.array([0.8, 0.3, 0.6]) * min(k / 500, 1.0), quat)
        assert np.all(np.isfinite(step.position_rad))
        assert np.all(step.position_rad <= arm.limits.upper_rad + 1e-12) and np.all(step.position_rad >= arm.limits.lower_rad - 1e-12)
        assert np.all(np.abs(step.velocity_rad_s) <= arm.limits.velocity_rad_s * (1 + 1e-9))
    assert step.error_m > 0.1
    # At the end of reach the joints come to rest instead of shaking.
    assert np.abs(step.velocity_rad_s).max() < 0.02


def test_ik_returns_to_the_home_posture_only_in_motion(contract, urdf_text):
    start = contract.robot.arms[0].home_rad + np.array([0.3, 0, -0.3, 0, 0.2, 0, 0])
    arm, _, ik, (position, quat) = made_ik(contract, urdf_text, start)
    for _ in range(100):
        ik.step(position, quat)
    np.testing.assert_allclose(ik.position_rad, start, atol=1e-9)
    for k in range(3000):
        ik.step(position + np.array([0.0, 0.05 * np.sin(k / 50), 0.0]), quat)
    assert np.linalg.norm(ik.position_rad - arm.home_rad) < 0.6 * np.linalg.norm(start - arm.home_rad)
