"""Guidance towards the committed part of the previous chunk: published numbers, the update rule, and what it does to chunks."""

import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from lawam_ros.contract.errors import UserMistake
from lawam_ros.model.engine import Engine
from lawam_ros.model.fast.denoise import Guide, chunk_tables, denoise
from lawam_ros.model.fast.head import head_context, velocity
from lawam_ros.model.real_time_chunking import ChunkPrefix, correction_weight, prefix_mask, prefix_target, soft_weights

SMALL = Path(__file__).parents[2] / "data" / "golden_small"
HZ, ROBOT = 20.0, 3


@pytest.mark.parametrize(
    ("delay", "attend", "rows", "expected"),
    [
        (2, 6, 10, [1, 1, 0.5706, 0.2871, 0.1145, 0.0258, 0, 0, 0, 0]),
        (1, 4, 8, [1, 0.4876, 0.1888, 0.0413, 0, 0, 0, 0]),
        (4, 4, 8, [1, 1, 1, 1, 0, 0, 0, 0]),
        (0, 0, 3, [0, 0, 0]),
    ],
)
def test_soft_weights(delay, attend, rows, expected):
    np.testing.assert_allclose(soft_weights(rows, delay, attend), expected, atol=5e-5)


def test_correction_weight():
    for tau, expected in ((0.1, 9.111), (0.2, 4.25), (0.3, 2.762), (0.4, 2.167), (0.5, 2.0)):
        assert correction_weight(tau, max_weight=100.0) == pytest.approx(expected, abs=5e-4)
        assert correction_weight(1 - tau, max_weight=100.0) == pytest.approx(expected, abs=5e-4)
    assert correction_weight(0.0) == correction_weight(0.1) == 5.0
    assert correction_weight(0.5, max_weight=100.0, prior_sigma=0.2) == pytest.approx(26.0)


def test_the_last_action_is_held_and_other_dimensions_are_left_alone():
    prefix = ChunkPrefix(torch.tensor([[1.0, 2.0, 3.0], [4.0, 5.0, 6.0]]), 1, 4, free_dims=(2,))
    target = prefix_target(prefix, 5, 6)
    assert target[:, :3].tolist() == [[1, 2, 3], [4, 5, 6], [4, 5, 6], [4, 5, 6], [4, 5, 6]]
    assert not target[:, 3:].any()
    mask = prefix_mask(prefix, 5, 6, dims=3)
    assert (mask[:4, :2] > 0).all() and not mask[:, 2:].any() and not mask[4].any()


@pytest.fixture(scope="module")
def engine():
    torch.set_num_threads(1)
    return Engine.load(SMALL / "runs" / "nostate")


@pytest.fixture(scope="module")
def image():
    return load_file(SMALL / "cases" / "A.safetensors")["inputs/primary/0/0"].numpy()


@pytest.fixture(scope="module")
def parts(engine):
    """Head, context and tables of one made-up observation, and a guide."""
    generator = torch.Generator().manual_seed(0)
    flow = engine.config.flow
    head = engine._packed_for(ROBOT).head
    with torch.no_grad():
        h_t, h_t1 = (torch.randn(flow.num_vision_tokens, flow.vision_dim, generator=generator) for _ in range(2))
        context = head_context(head, h_t, h_t1, torch.randn(40, flow.vlm_dim, generator=generator), False)
        tables = chunk_tables(head, 5, 8, HZ, 0)
    shape = (8, flow.action_dim)
    guide = Guide(torch.randn(shape, generator=generator), torch.rand(shape, generator=generator), 0, 5.0, 1.0, "identity")
    return head, context, tables, guide, torch.randn(2, *shape, generator=generator)


@pytest.mark.parametrize("jacobian", ["identity", "exact"])
def test_steps_are_those_of_the_paper(parts, jacobian):
    head, context, tables, guide, noise = parts
    guide = replace(guide, jacobian=jacobian)

    def estimate_of(x, step):
        return x + (1 - step / 5) * velocity(head, x, tables.at(step), context, None)[0]

    x = noise
    for step in range(5):
        tau = step / 5
        weight = 5.0 if tau == 0 else min(5.0, (tau**2 + (1 - tau) ** 2) / (tau * (1 - tau)))
        error = guide.mask * (guide.target - estimate_of(x, step))
        if jacobian == "exact":
            leaf = x.clone().requires_grad_(True)
            (estimate_of(leaf, step) * error.detach()).sum().backward()
            error = leaf.grad
        with torch.no_grad():
            x = x + (velocity(head, x, tables.at(step), context, None)[0] + weight * error) / 5
    with torch.no_grad():
        got = denoise(head, noise, context, tables, None, 1.0, guide)
    torch.testing.assert_close(got, x.detach(), atol=1e-5, rtol=0)
    assert not got.requires_grad


def test_the_exact_jacobian_is_not_the_identity(parts):
    head, context, tables, guide, noise = parts
    with torch.no_grad():
        both = [denoise(head, noise, context, tables, None, 1.0, replace(guide, jacobian=kind)) for kind in ("identity", "exact")]
    assert (both[0] - both[1]).abs().max() > 1e-2


def chunk(engine, image, seed, prefix=None, **changes):
    arguments = {"primary": [image], "wrist": [], "instruction": "pick", "state": None, "embodiment_id": ROBOT, "action_hz": HZ}
    return engine.infer(**(arguments | {"seed": seed, "prefix": prefix} | changes)).normalised_actions


@pytest.mark.parametrize("jacobian", ["identity", "exact"])
def test_a_guided_chunk_continues_the_previous_one(engine, image, jacobian):
    dims = engine.statistics.action.size
    previous, free = chunk(engine, image, 1), chunk(engine, image, 2)
    prefix = ChunkPrefix(torch.from_numpy(previous[2:]), 3, 6, free_dims=(dims - 1,), jacobian=jacobian)
    guided = chunk(engine, image, 2, prefix)

    def distance(actions):
        return np.abs(actions[:3, : dims - 1] - previous[2:5, : dims - 1]).mean()

    assert distance(guided) < 0.3 * distance(free)


def test_weightless_prefixes_change_nothing(engine, image):
    free = chunk(engine, image, 2)
    ignored = ChunkPrefix(torch.zeros(1, engine.statistics.action.size), 0, 0)
    np.testing.assert_allclose(chunk(engine, image, 2, ignored), free, atol=1e-6)


def test_prefixes_that_cannot_be(engine, image):
    dims = engine.statistics.action.size
    good = ChunkPrefix(torch.zeros(4, dims), 1, 4)
    for changes, message in (
        ({"delay_steps": 5}, "0 <= delay_steps <= attend_steps <= 8 actions, got 5 and 4"),
        ({"attend_steps": 9}, "0 <= delay_steps <= attend_steps <= 8 actions, got 1 and 9"),
        ({"actions": torch.zeros(0, dims)}, "expected prefix actions of shape"),
        ({"actions": torch.zeros(4, dims - 1)}, "expected prefix actions of shape"),
        ({"actions": torch.full((4, dims), math.nan)}, "expected finite prefix actions"),
        ({"jacobian": "half"}, "expected jacobian identity or exact, got 'half'"),
        ({"max_weight": 0.0}, "expected max_weight and prior_sigma above 0"),
        ({"free_dims": (dims,)}, f"expected free_dims from 0 to {dims - 1}"),
    ):
        with pytest.raises(UserMistake, match=message):
            chunk(engine, image, 2, replace(good, **changes))
