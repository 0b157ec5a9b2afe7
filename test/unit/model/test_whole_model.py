"""Size of the released model, gradients, dropout, and batches that mix prompts."""

from dataclasses import replace
from pathlib import Path

import pytest
import torch
import yaml

from lawam_ros.contract.errors import UserMistake
from lawam_ros.contract.paths import config_dir
from lawam_ros.model.checkpoint import load_checkpoint, stored_state
from lawam_ros.model.config import load_model_config
from lawam_ros.model.lawam import build_model
from lawam_ros.model.prompt import PromptEncoder
from lawam_ros.model.sampler import denoising_buckets, sample_actions
from lawam_ros.model.vision_tower import vision_features

RUN = Path(__file__).parents[2] / "data" / "golden_small" / "runs" / "nostate"


@pytest.fixture(autouse=True, scope="module")
def one_thread():
    torch.set_num_threads(1)


@pytest.fixture(scope="module")
def golden_config():
    return load_checkpoint(RUN).config


@pytest.fixture(scope="module")
def prompts(golden_config):
    return PromptEncoder(golden_config)


def count(module):
    return sum(parameter.numel() for parameter in module.parameters())


def test_released_size_component_by_component():
    model = build_model(load_model_config("lawam_2b"), "meta")
    lam, flow = model.lam, model.flow
    assert count(model.vlm.model.visual) == 406_957_056
    assert count(model.vlm.model.language_model) == 1_116_542_976
    assert count(model.vlm) == 1_523_500_032
    assert model.act_query.numel() == model.flow_action_query.numel() == 16_384
    assert count(model.vlm_to_lam) == 145_920
    assert count(lam.vision_encoder) == 85_660_416
    assert count(lam.encoder) == 309_432_352
    assert count(lam.vq) == 2_176
    assert count(lam.decoder) == 228_286_720
    assert count(lam.state_decoder) == 101_713_344
    assert (count(flow.DiT), count(flow.action_encoder), count(flow.action_decoder)) == (235_328_512, 34_668_544, 34_636_800)
    assert (count(flow.enc_vlm), flow.cfg_embeddings.numel()) == (1_575_168, 196_608)
    assert count(model) == 2_555_179_360
    assert len(stored_state(model)) == 1_419


def test_released_key_spelling():
    state = stored_state(build_model(load_model_config("lawam_2b"), "meta"))
    shapes = {
        "vlm.model.visual.deepstack_merger_list.2.linear_fc2.weight": (2048, 4096),
        "vlm.model.language_model.layers.15.self_attn.k_norm.weight": (128,),
        "lam.vision_encoder.model.layer.11.layer_scale2.lambda1": (768,),
        "lam.vision_encoder.model.embeddings.register_tokens": (1, 4, 768),
        "lam.encoder.QFormer.q_cross_attn.ff.2.weight": (1024, 1024),
        "lam.encoder.QFormer.layers.23.linear1.weight": (4096, 1024),
        "lam.decoder.dec_layers.11.adaLN_modulation.1.weight": (6144, 1024),
        "lam.state_decoder.state_decoder.layer2.W": (32, 1024, 14),
        "vlm_to_lam.cross_attns.0.k_proj_weight": (32, 2048),
        "vlm_to_lam.ffns.0.4.weight": (32, 128),
        "flow.DiT.transformer_blocks.14.attn1.to_k.weight": (1024, 768),
        "flow.DiT.transformer_blocks.15.ff.net.0.proj.weight": (4096, 1024),
        "flow.DiT.timestep_encoder.timestep_embedder.linear_1.weight": (1024, 256),
        "flow.action_decoder.layer2.b": (32, 32),
    }
    assert {key: tuple(state["policy_backend." + key].shape) for key in shapes} == shapes


def batch(model, prompts, rows):
    views = sum(primary + wrist for _, primary, wrist in rows)
    generator = torch.Generator().manual_seed(3)
    frames = torch.randint(0, 256, (views, 3, 256, 256), dtype=torch.uint8, generator=generator)
    return prompts.batch(rows), frames


def test_gradients_reach_what_trains_and_nothing_frozen(golden_config, prompts):
    torch.manual_seed(0)
    config = replace(golden_config, flow=replace(golden_config.flow, use_state=True, dropout=0.2))
    model = build_model(config).train()
    for block in model.lam.decoder.dec_layers:
        torch.nn.init.normal_(block.adaLN_modulation[1].weight, std=0.1)  # fresh blocks ignore the latent action
    text, frames = batch(model, prompts, [("open the drawer", 1, 1), ("go", 1, 0)])
    language = model.vlm_forward(text, frames)
    h_t = model.encode_images(frames[:2])
    h_t1 = model.lam.decoder(h_t, language.z)
    context = model.flow.context(h_t, h_t1.detach(), language.h_vlm, language.attention_mask)
    hz, robot = torch.full((4,), 20.0), torch.tensor([1, 2, 1, 2])
    velocity = model.flow.velocity(torch.randn(4, 10, 12), torch.tensor([0, 10, 500, 999]), context, hz, robot, torch.randn(4, 12))
    node = model.lam.vq(model.lam.encoder(torch.stack([h_t, h_t], dim=1)))[0]
    (velocity.square().mean() + h_t1.square().mean() + node.square().mean()).backward()
    frozen = [name for name, parameter in model.lam.vision_encoder.named_parameters() if parameter.grad is not None]
    assert frozen == []
    untouched = {
        name for name, p in model.named_parameters() if p.grad is None and "vision_encoder" not in name and "state_decoder" not in name
    }
    assert untouched == {"lam.vq.logvar.weight", "lam.vq.logvar.bias"}
    assert not model.lam.vision_encoder.training
    assert float(model.flow.cfg_embeddings.grad.abs().max()) == 0.0


def test_dropout_acts_in_training_only(golden_config):
    model = build_model(replace(golden_config, flow=replace(golden_config.flow, dropout=0.5)))
    features, language = torch.randn(1, 256, 48), torch.randn(1, 5, 64)
    x, hz, robot, bucket = torch.randn(1, 10, 12), torch.tensor([25.0]), torch.tensor([0]), torch.tensor([100])

    def velocity():
        return model.flow.velocity(x, bucket, model.flow.context(features, features, language, None), hz, robot)

    with torch.no_grad():
        model.train()
        assert not torch.allclose(velocity(), velocity())
        model.eval()
        assert torch.equal(velocity(), velocity())


def test_padding_does_not_change_a_row(golden_config, prompts):
    torch.manual_seed(1)
    model = build_model(golden_config).eval()
    rows = [("go", 1, 1), ("put the bowl into the drawer and close it", 1, 1)]
    text, frames = batch(model, prompts, rows)
    alone = prompts.batch(rows[:1])
    with torch.inference_mode():
        together, single = model.vlm_forward(text, frames), model.vlm_forward(alone, frames[:2])
    length = alone.input_ids.shape[1]
    assert together.attention_mask is not None and single.attention_mask is None
    assert torch.allclose(together.h_vlm[:1, :length], single.h_vlm, atol=1e-5)
    assert torch.allclose(together.z[:1], single.z, atol=1e-5)


def test_wrist_images_come_after_the_latent_action(golden_config, prompts):
    """Causal attention: what the wrist camera sees cannot change the predicted subgoal, but it does change the action context."""
    torch.manual_seed(2)
    model = build_model(golden_config).eval()
    text, frames = batch(model, prompts, [("go", 1, 1)])
    other = frames.clone()
    other[1] = 255 - other[1]
    with torch.inference_mode():
        first, second = model.vlm_forward(text, frames), model.vlm_forward(text, other)
    assert torch.allclose(first.z, second.z, atol=1e-6)
    assert not torch.allclose(first.h_vlm, second.h_vlm, atol=1e-3)


def test_vision_tower_equals_the_library(golden_config):
    """Our batched forward pass against transformers' own."""
    torch.manual_seed(4)
    vlm = build_model(golden_config).eval().vlm
    patches = torch.randn(2, 256, 1536)
    with torch.inference_mode():
        ours, deepstack = vision_features(vlm.model.visual, patches, vlm.corner, vlm.corner_weight, vlm.cosine, vlm.sine)
        tower = type(vlm.model.visual)(vlm.model.config.vision_config).eval()
        tower.load_state_dict(vlm.model.visual.state_dict())
        theirs = tower(patches.flatten(0, 1), grid_thw=torch.tensor([[1, 16, 16]] * 2))
    assert torch.allclose(ours.flatten(0, 1), theirs.pooler_output, atol=1e-5)
    for mine, library in zip(deepstack, theirs.deepstack_features, strict=True):
        assert torch.allclose(mine.flatten(0, 1), library, atol=1e-5)


def test_guidance_mixes_both_velocities(golden_config):
    torch.manual_seed(5)
    flow = build_model(golden_config).eval().flow
    h_t, h_t1, language = torch.randn(1, 256, 48), torch.randn(1, 256, 48), torch.randn(1, 7, 64)
    hz, robot, noise = torch.tensor([20.0]), torch.tensor([1]), torch.randn(1, 10, 12)
    seen, unseen = flow.context(h_t, h_t1, language, None), flow.unconditional_context(h_t, language, None)
    plain, without, guided = (
        sample_actions(flow, context, noise, hz, robot, steps=1, guidance_scale=scale, unconditional=unseen)
        for context, scale in ((seen, 1.0), (unseen, 1.0), (seen, 2.0))
    )
    assert torch.allclose(guided, without + 2.0 * (plain - without), atol=1e-6)
    assert not torch.allclose(guided, plain, atol=1e-4)


def test_denoising_buckets_truncate():
    assert denoising_buckets(10) == list(range(0, 1000, 100))
    assert denoising_buckets(7) == [0, 142, 285, 428, 571, 714, 857]


@pytest.mark.parametrize(
    ("section", "key", "value", "message"),
    [
        ("action_model", "num_action_queries", None, "'num_action_queries' is missing"),
        ("lam", "vq_type", "nsvq", "vq_type: only 'vae' is supported"),
        ("vision_encoder", "model_type", "resnet", "expected model_type dinov3_vit or efficientnet_lite0"),
    ],
)
def test_wrong_model_files_are_named(tmp_path, section, key, value, message):
    content = yaml.safe_load((config_dir() / "models" / "lawam_2b.yaml").read_text())
    if value is None:
        del content[section][key]
    else:
        content[section][key] = value
    (tmp_path / "mine.yaml").write_text(yaml.safe_dump(content))
    with pytest.raises(UserMistake, match=message):
        load_model_config(tmp_path / "mine.yaml")


def test_unknown_model_names_the_known_ones():
    with pytest.raises(UserMistake, match="unknown model 'huge': expected one of lawam_2b, tiny"):
        load_model_config("huge")
