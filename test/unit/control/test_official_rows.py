"""Official vectors of the Quanta X1 and our absolute rows."""

import numpy as np
import pytest
from two_armed import ARMS, ROBOT, URDF

from lawam_ros.contract.errors import UserMistake
from lawam_ros.contract.load import load_contract
from lawam_ros.contract.rotations import quat_from_rotvec, quat_from_rpy, quat_multiply
from lawam_ros.control.kinematics import Chain
from lawam_ros.control.official_rows import official_arms, official_vector, rows_of_official

DOWN = quat_from_rpy(np.array([0.0, np.pi / 2, 0.0]))


def row_at(arm, joints_rad, opening_m=0.0):
    pose = Chain.from_urdf(URDF, arm.base_frame, arm.tcp_frame).pose(np.array(joints_rad))
    return np.concatenate([pose.position_m, pose.quat_xyzw, [opening_m]])


@pytest.mark.parametrize(
    ("joints_rad", "expected"),
    [
        ([0, 0, 0, 0, 0, 0], [0, 0, 0, 0, 0, 0]),
        ([0.2, 0.8, -1.0, 0.3, 0.1, -0.2], [0.052797079, 0.038798109, 0.218897011, -0.189983582, 0.099498757, 0.300498726]),
        ([0, 1.2, -1.5, 0.3, 0, 0], [0.133283366, 0, 0.307393327, 0, 0, 0]),
    ],
)
def test_the_published_poses_come_out_in_both_arms_own_frames(joints_rad, expected):
    rows = {arm.name: row_at(arm, joints_rad, opening_m=0.0767) for arm in ROBOT.arms}
    vector = official_vector(ARMS, rows)
    for part in (vector[:7], vector[7:]):
        np.testing.assert_allclose(part[:6], expected, atol=1e-8)
        assert part[6] == pytest.approx(4.5, abs=3e-3)


def test_rows_come_back():
    rng = np.random.default_rng(1)
    rows = {name: np.concatenate([rng.normal(0.3, 0.1, 3), quat_from_rotvec(rng.normal(0, 1, 3)), [rng.uniform(0, 0.07)]]) for name in ARMS}
    back = rows_of_official(ARMS, official_vector(ARMS, rows)[None])
    for name, row in rows.items():
        sign = np.sign(back[name][0, 3:7] @ row[3:7])
        np.testing.assert_allclose(back[name][0, :3], row[:3], atol=1e-9)
        np.testing.assert_allclose(sign * back[name][0, 3:7], row[3:7], atol=1e-9)
        assert back[name][0, 7] == pytest.approx(row[7])


def test_left_comes_first_and_the_arms_are_not_mixed():
    vectors = np.zeros((2, 14))
    vectors[:, 0], vectors[:, 7] = 0.1, 0.2
    rows = rows_of_official(ARMS, vectors)
    offset_x = ROBOT.official.end_pose_offset_m[0] + 0.14
    assert rows["left"][0, 0] == pytest.approx(0.1 + offset_x) and rows["right"][0, 0] == pytest.approx(0.2 + offset_x)


def test_openings_stay_within_the_grippers_range():
    vectors = np.zeros((2, 14))
    vectors[:, 6] = [-0.12, 99.0]  # recorded data reach a little below 0
    assert rows_of_official(ARMS, vectors)["left"][:, 7].tolist() == [0.0, ROBOT.arm("left").gripper.opening_max_m]


def test_angles_stay_near_the_last_ones_where_a_downward_hand_is_singular():
    near = np.zeros(14)
    for wobble in (1e-3, -1e-3, 1e-3):
        turned = quat_multiply(quat_from_rotvec(np.array([wobble, 0.0, wobble])), DOWN)
        row = np.concatenate([[0.4, 0.0, 0.1], turned, [0.0]])
        vector = official_vector(ARMS, {"left": row, "right": row}, near)
        plain = official_vector(ARMS, {"left": row, "right": row})
        assert np.linalg.norm(vector[3:6] - near[3:6]) <= np.linalg.norm(plain[3:6] - near[3:6]) + 1e-9
        near = vector
        back = rows_of_official(ARMS, vector[None])["left"][0]
        assert abs(back[3:7] @ row[3:7]) == pytest.approx(1.0, abs=1e-9)


def test_neighbouring_rows_have_like_signs():
    vectors = np.zeros((40, 14))
    vectors[:, 5] = np.linspace(0.0, 2 * np.pi, 40)
    quats = rows_of_official(ARMS, vectors)["left"][:, 3:7]
    assert np.all(np.sum(quats[1:] * quats[:-1], axis=1) > 0.9)


def test_a_robot_without_that_section_is_refused():
    with pytest.raises(UserMistake, match="franka_panda has no 'official' section"):
        official_arms(load_contract("franka_pick_place").robot, "")


def test_another_width_is_refused():
    with pytest.raises(ValueError, match=r"expected official vectors \(N, 14\)"):
        rows_of_official(ARMS, np.zeros((2, 16)))
