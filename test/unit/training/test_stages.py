"""Both stages on a model of toy size: gradients go where they should, losses fall, repeats equal a tiled batch."""

import copy
from dataclasses import replace

import pytest
import torch

from lawam_ros.model.config import load_model_config
from lawam_ros.model.lawam import build_model
from lawam_ros.model.prompt import PromptEncoder, chat_text
from lawam_ros.training.repeated_flow import fast_cpu_attention, repeated_velocity
from lawam_ros.training.stage1 import WorldModelBatch, stage1_parameters, world_model_losses
from lawam_ros.training.stage2 import PolicyBatch, PolicyLossWeights, policy_losses, stage2_parameters
from lawam_ros.training.tokenizer import train_tokenizer

SENTENCES = ["put the cube on the pad", "move it"]
BATCH = 4
WEIGHTS = PolicyLossWeights(perceptual=0.1, distill=0.1, repeats=3)


@pytest.fixture(autouse=True, scope="module")
def one_thread():
    torch.set_num_threads(1)


@pytest.fixture(scope="module")
def config():
    tiny = load_model_config("tiny")
    base = copy.deepcopy(dict(tiny.base_vlm))
    base["text_config"] |= {"hidden_size": 32, "intermediate_size": 48, "num_attention_heads": 2, "num_key_value_heads": 1, "head_dim": 16}
    base["text_config"]["rope_parameters"] = base["text_config"]["rope_parameters"] | {"mrope_section": [4, 2, 2]}
    base["vision_config"] |= {"hidden_size": 32, "intermediate_size": 48, "num_heads": 2, "out_hidden_size": 32}
    lam = replace(tiny.lam, dim=32, enc_layers=1, dec_layers=1, num_heads=2, ffn_expansion_factor=2)
    flow = replace(tiny.flow, hidden_dim=32, attention_heads=2, num_layers=4, vlm_dim=32, dropout=0.0, action_dim=8)
    return replace(tiny, base_vlm=base, language_layers=2, lam=lam, flow=flow)


@pytest.fixture
def model(config):
    torch.manual_seed(0)
    return build_model(config).train()


def policy_batch(config) -> PolicyBatch:
    noise = torch.Generator().manual_seed(1)
    prompts = PromptEncoder(config, train_tokenizer([chat_text(sentence, 1, 1, config) for sentence in SENTENCES], 400))
    tokens, width = config.flow.num_vision_tokens, config.feature_dim
    return PolicyBatch(
        prompt=prompts.batch([(SENTENCES[i % 2], 1, 1) for i in range(BATCH)]),
        frames=torch.randint(0, 255, (2 * BATCH, 3, 256, 256), dtype=torch.uint8, generator=noise),
        features=torch.randn(BATCH, tokens, width, generator=noise),
        future_features=torch.randn(BATCH, tokens, width, generator=noise),
        teacher=torch.randn(BATCH, 1, config.lam.code_dim, generator=noise),
        actions=torch.nn.functional.pad(torch.randn(BATCH, 24, 7, generator=noise), (0, 1)),
        action_dims=7,
        state=torch.randn(BATCH, config.flow.state_dim, generator=noise),
        action_hz=torch.full((BATCH,), 20.0),
        embodiment_id=torch.full((BATCH,), 25),
    )


def gradient_groups(model, loss) -> dict[str, float]:
    model.zero_grad(set_to_none=True)
    loss.backward(retain_graph=True)
    groups = ("vlm.", "act_query", "flow_action_query", "vlm_to_lam.", "lam.decoder.", "lam.encoder.", "lam.vq.", "flow.")
    return {
        group: sum(float(p.grad.abs().sum()) for name, p in model.named_parameters() if name.startswith(group) and p.grad is not None)
        for group in groups
    }


def test_every_loss_reaches_what_it_should_and_nothing_else(model, config):
    with torch.no_grad():
        # Fresh world-model blocks are the identity whatever the latent action; without this no gradient would reach it.
        for block in model.lam.decoder.dec_layers:
            block.adaLN_modulation[1].weight.normal_(std=0.1)
    losses = policy_losses(model, policy_batch(config), WEIGHTS, torch.Generator().manual_seed(0))
    reached = {
        term: {g for g, size in gradient_groups(model, losses[term]).items() if size > 0} for term in ("flow", "perceptual", "distill")
    }
    assert reached["flow"] == {"vlm.", "act_query", "flow_action_query", "flow."}
    assert reached["perceptual"] == {"vlm.", "act_query", "vlm_to_lam.", "lam.decoder."}
    assert reached["distill"] == {"vlm.", "act_query", "vlm_to_lam."}


def test_total_is_the_weighted_sum(model, config):
    losses = policy_losses(model, policy_batch(config), WEIGHTS, torch.Generator().manual_seed(0))
    torch.testing.assert_close(losses["total"], losses["flow"] + 0.1 * losses["perceptual"] + 0.1 * losses["distill"])


def test_stages_train_disjoint_halves_around_the_decoder(model):
    first, second = set(stage1_parameters(model)), set(stage2_parameters(model))
    assert {name for name in first & second if not name.startswith("lam.decoder.")} == set()
    rest = {name for name, _ in model.named_parameters()} - first - second
    assert all(name.startswith("lam.vision_encoder.") for name in rest)


def test_losses_fall_on_a_small_batch(model, config):
    batch, parameters = policy_batch(config), stage2_parameters(model)
    optimiser = torch.optim.AdamW(parameters.values(), lr=3e-3)
    curve = []
    with fast_cpu_attention():
        for _ in range(80):
            losses = policy_losses(model, batch, WEIGHTS, torch.Generator().manual_seed(0))
            optimiser.zero_grad()
            losses["total"].backward()
            optimiser.step()
            curve.append({name: float(value.detach()) for name, value in losses.items()})
    for term in ("flow", "perceptual", "distill"):
        assert curve[-1][term] < 0.8 * curve[0][term], term


def test_the_world_model_learns_a_batch(model, config):
    noise = torch.Generator().manual_seed(2)
    features = torch.randn(BATCH, 2, config.flow.num_vision_tokens, config.feature_dim, generator=noise)
    state = torch.randn(BATCH, config.lam.max_state_dim, generator=noise)
    batch = WorldModelBatch(features, state, 0.3 * state, torch.ones_like(state, dtype=torch.bool), torch.full((BATCH,), 25))
    optimiser = torch.optim.AdamW(stage1_parameters(model).values(), lr=3e-3)
    curve = []
    for _ in range(40):
        losses = world_model_losses(model.lam, batch, torch.Generator().manual_seed(0))
        optimiser.zero_grad()
        losses["total"].backward()
        optimiser.step()
        curve.append({name: float(value.detach()) for name, value in losses.items()})
    assert curve[-1]["reconstruction"] < 0.95 * curve[0]["reconstruction"]
    assert curve[-1]["state"] < 0.5 * curve[0]["state"]


@pytest.mark.parametrize("hz", [20.0, 10.0])
def test_repeats_equal_a_tiled_batch(model, config, hz):
    """10 Hz leaves half of the rows invalid and the second prompt is shorter, so all masks are at work."""
    model.eval()
    batch, repeats, noise = policy_batch(config), 3, torch.Generator().manual_seed(3)
    x = torch.randn(BATCH, repeats, 24, config.flow.action_dim, generator=noise)
    bucket = torch.randint(0, 1000, (BATCH, repeats), generator=noise)
    frequency = torch.full((BATCH,), hz)
    with torch.no_grad():
        output = model.vlm_forward(batch.prompt, batch.frames)
        assert output.attention_mask is not None
        context = model.flow.context(batch.features, batch.future_features, output.h_vlm, output.attention_mask)
        ours = repeated_velocity(model.flow, x, bucket, context, frequency, batch.embodiment_id, batch.state)
        with fast_cpu_attention():
            fast = repeated_velocity(model.flow, x, bucket, context, frequency, batch.embodiment_id, batch.state)
        for repeat in range(repeats):
            expected = model.flow.velocity(x[:, repeat], bucket[:, repeat], context, frequency, batch.embodiment_id, batch.state)
            valid = int(1.2 * hz)
            torch.testing.assert_close(ours[:, repeat, :valid], expected[:, :valid], atol=1e-5, rtol=1e-4)
            torch.testing.assert_close(fast[:, repeat, :valid], expected[:, :valid], atol=1e-5, rtol=1e-4)
