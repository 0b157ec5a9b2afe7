"""Poses of all links, against the chain of the arm and by hand."""

import numpy as np
import pytest

from lawam_ros.contract.errors import UserMistake
from lawam_ros.contract.paths import urdf_dir
from lawam_ros.control.kinematics import Chain
from lawam_ros.control.link_frames import LinkFrames

SMALL = """<robot name="r">
  <joint name="lift" type="prismatic"><parent link="base"/><child link="column"/><origin xyz="0 0 1"/><axis xyz="0 0 1"/></joint>
  <joint name="left" type="prismatic"><parent link="hand"/><child link="finger"/><axis xyz="0 1 0"/></joint>
  <joint name="right" type="prismatic"><parent link="hand"/><child link="thumb"/><axis xyz="0 -1 0"/>
    <mimic joint="left" multiplier="2" offset="0.01"/></joint>
  <joint name="turn" type="revolute"><parent link="column"/><child link="hand"/><origin xyz="0.5 0 0"/><axis xyz="0 0 1"/></joint>
</robot>"""


@pytest.mark.parametrize(("robot", "prefixes"), [("franka_panda", ["panda"]), ("two_pandas", ["left_panda", "right_panda"])])
def test_the_tcp_is_where_the_chain_has_it(robot, prefixes):
    urdf = (urdf_dir() / f"{robot}.urdf").read_text()
    frames = LinkFrames(urdf)
    names = [joint.name for joint in frames.joints if joint.kind != "fixed"]
    q = dict(zip(names, np.random.default_rng(2).uniform(-1.0, 1.0, len(names)), strict=True))
    poses = frames.poses(q)
    for prefix in prefixes:
        chain = Chain.from_urdf(urdf, f"{prefix}_link0", f"{prefix}_hand_tcp")
        expected = poses[f"{prefix}_link0"] @ chain.transform(np.array([q[name] for name in chain.joint_names]))
        np.testing.assert_allclose(poses[f"{prefix}_hand_tcp"], expected, atol=1e-12)


def test_joints_that_slide_turn_and_follow():
    poses = LinkFrames(SMALL).poses({"lift": 0.2, "turn": np.pi / 2, "left": 0.03})
    np.testing.assert_allclose(poses["column"][:3, 3], [0, 0, 1.2], atol=1e-12)
    np.testing.assert_allclose(poses["hand"][:3, :3] @ [1, 0, 0], [0, 1, 0], atol=1e-12)
    np.testing.assert_allclose(poses["finger"][:3, 3], [0.5 - 0.03, 0, 1.2], atol=1e-12)
    np.testing.assert_allclose(poses["thumb"][:3, 3], [0.5 + 0.07, 0, 1.2], atol=1e-12)


def test_a_follower_that_is_measured_itself_is_believed():
    poses = LinkFrames(SMALL).poses({"lift": 0.0, "turn": 0.0, "left": 0.03, "right": 0.0})
    np.testing.assert_allclose(poses["thumb"], poses["hand"], atol=1e-12)


def test_a_joint_nobody_measured_is_an_error():
    with pytest.raises(KeyError, match="lift"):
        LinkFrames(SMALL).poses({"turn": 0.0, "left": 0.0})


@pytest.mark.parametrize(
    ("before", "after", "said"),
    [
        ('type="revolute"', 'type="floating"', "joint 'turn' is floating; expected revolute"),
        ('<parent link="base"/>', '<parent link="thumb"/>', "one root, got roots none"),
        ('<parent link="hand"/><child link="finger"/>', '<parent link="other"/><child link="finger"/>', "got roots base, other"),
        ('multiplier="2"', 'multiplier="two"', "joint 'right', mimic: expected numbers"),
    ],
)
def test_what_is_no_tree_of_single_joints_is_refused(before, after, said):
    assert before in SMALL
    with pytest.raises(UserMistake, match=said):
        LinkFrames(SMALL.replace(before, after))
