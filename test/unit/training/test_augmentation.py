"""Random crops and colours: what they leave alone, what they change, and that frames share one draw."""

import colorsys

import numpy as np
import torch

from lawam_ros.training.augmentation import (
    CROP_SIDE,
    Augmentation,
    augmented,
    policy_augmentation,
    random_resized_box,
    world_model_augmentation,
)

FRAMES = torch.randint(0, 256, (2, 3, 3, 32, 32), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))


def test_nothing_drawn_changes_nothing():
    assert augmented(FRAMES, Augmentation()) is FRAMES
    neutral = Augmentation((0.0, 0.0, 1.0, 1.0), (("brightness", 1.0), ("contrast", 1.0), ("saturation", 1.0), ("hue", 0.0)))
    assert (augmented(FRAMES, neutral).int() - FRAMES.int()).abs().max() <= 1


def test_crops_of_the_policy_have_nine_tenths_of_the_area():
    for seed in range(20):
        top, left, height, width = policy_augmentation(np.random.default_rng(seed), crop=True, colour=False).box
        assert height == width == CROP_SIDE and min(top, left) >= 0.0 and max(top, left) + CROP_SIDE <= 1.0
    ramp = torch.arange(64, dtype=torch.float32).mul(4).to(torch.uint8).expand(3, 64, 64)
    cropped = augmented(ramp, Augmentation((0.0, 0.25, 0.5, 0.5)))
    assert cropped[0, 0, 0] < 80 and cropped[0, 0, -1] > 170 and cropped.shape == ramp.shape


def test_crops_of_the_world_model_keep_their_bounds():
    for seed in range(50):
        top, left, height, width = random_resized_box(np.random.default_rng(seed), (0.8, 1.0), (1.0, 1.3))
        assert 0.8 - 1e-9 <= height * width <= 1.0 + 1e-9 and 1.0 - 1e-9 <= width / height <= 1.3 + 1e-9
        assert top >= 0.0 and left >= 0.0 and top + height <= 1.0 + 1e-9 and left + width <= 1.0 + 1e-9


def test_colours_follow_their_definitions():
    frame = FRAMES[0, 0].float() / 255
    for name, value, expected in (
        ("brightness", 0.5, frame * 0.5),
        ("saturation", 0.0, (frame * torch.tensor([0.2989, 0.587, 0.114])[:, None, None]).sum(0, keepdim=True).expand(3, -1, -1)),
        ("contrast", 0.0, torch.full_like(frame, float((frame * torch.tensor([0.2989, 0.587, 0.114])[:, None, None]).sum(0).mean()))),
    ):
        got = augmented(FRAMES[0, 0], Augmentation(colour=((name, value),))).float() / 255
        torch.testing.assert_close(got, expected.clamp(0, 1), atol=0.5 / 255 + 1e-5, rtol=0)


def test_hue_turns_the_colour_circle():
    turned = augmented(FRAMES[0, 0], Augmentation(colour=(("hue", 0.2),)))
    for row, column in ((0, 0), (5, 7), (31, 30)):
        hue, saturation, value = colorsys.rgb_to_hsv(*(FRAMES[0, 0, :, row, column].float() / 255).tolist())
        expected = colorsys.hsv_to_rgb((hue + 0.2) % 1.0, saturation, value)
        np.testing.assert_allclose(turned[:, row, column].float() / 255, expected, atol=0.5 / 255 + 1e-5)
    grey = torch.full((3, 4, 4), 77, dtype=torch.uint8)
    assert torch.equal(augmented(grey, Augmentation(colour=(("hue", 0.3),))), grey)


def test_all_frames_share_a_draw_and_a_draw_depends_on_its_generator():
    draw = world_model_augmentation(np.random.default_rng(1))
    together = augmented(FRAMES, Augmentation(draw.box, tuple(c for c in draw.colour if c[0] != "contrast")))
    apart = augmented(FRAMES[1, 2], Augmentation(draw.box, tuple(c for c in draw.colour if c[0] != "contrast")))
    assert torch.equal(together[1, 2], apart)
    assert draw == world_model_augmentation(np.random.default_rng(1)) != world_model_augmentation(np.random.default_rng(2))
