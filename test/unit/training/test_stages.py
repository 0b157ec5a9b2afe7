"""Both stages on a model of toy size: gradients go where they should, losses fall, repeats equal a tiled batch."""

from dataclasses import replace

import pytest
import torch
from toy_training import shrunk_tiny

from lawam_ros.contract.errors import UserMistake
from lawam_ros.model.lawam import build_model
from lawam_ros.model.prompt import PromptEncoder, chat_text
from lawam_ros.training.flow_draws import FlowDraws, draw_flow
from lawam_ros.training.freezing import FreezePolicy, freeze_policy, stage1_parameters, stage2_parameters, train_only
from lawam_ros.training.losses import masked_flow_loss
from lawam_ros.training.policy_options import PolicyOptions, ScheduledSampling, policy_options
from lawam_ros.training.repeated_flow import repeated_velocity
from lawam_ros.training.stage1 import WorldModelBatch, WorldModelOptions, world_model_losses
from lawam_ros.training.stage2 import PolicyBatch, policy_trace
from lawam_ros.training.tokenizer import train_tokenizer

SENTENCES = ["put the cube on the pad", "move it"]
BATCH = 4
OPTIONS = PolicyOptions(perceptual=0.1, distill=0.1, repeats=3, detach_future=True)
TRAINED = FreezePolicy(freeze_embedding=False)


@pytest.fixture(autouse=True, scope="module")
def one_thread():
    torch.set_num_threads(1)


@pytest.fixture(scope="module")
def config():
    small = shrunk_tiny()
    return replace(small, flow=replace(small.flow, action_dim=8))


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
        features=torch.randn(BATCH, 2, tokens, width, generator=noise),
        pair=None,
        teacher=torch.randn(BATCH, 1, config.lam.code_dim, generator=noise),
        actions=torch.nn.functional.pad(torch.randn(BATCH, 24, 7, generator=noise), (0, 1)),
        action_mask=(torch.arange(8) < 7).expand(BATCH, 24, 8),
        state=torch.randn(BATCH, config.flow.state_dim, generator=noise),
        state_mask=torch.ones(BATCH, config.flow.state_dim, dtype=torch.bool),
        action_hz=torch.full((BATCH,), 20.0),
        embodiment_id=torch.full((BATCH,), 25),
    )


def draws_of(config, options: PolicyOptions, seed: int = 0) -> FlowDraws:
    return draw_flow(config.flow, options, torch.full((BATCH,), 24), torch.Generator().manual_seed(seed))


def losses_of(model, config, options: PolicyOptions = OPTIONS, batch: PolicyBatch | None = None, step: int = 0) -> dict[str, torch.Tensor]:
    return policy_trace(model, batch or policy_batch(config), options, draws_of(config, options), step).losses


def gradient_groups(model, loss) -> dict[str, float]:
    model.zero_grad(set_to_none=True)
    loss.backward(retain_graph=True)
    groups = ("vlm.", "act_query", "flow_action_query", "vlm_to_lam.", "lam.decoder.", "lam.encoder.", "lam.vq.", "flow.")
    return {
        group: sum(float(p.grad.abs().sum()) for name, p in model.named_parameters() if name.startswith(group) and p.grad is not None)
        for group in groups
    }


def reached_groups(model, config, options: PolicyOptions) -> dict[str, set[str]]:
    with torch.no_grad():
        # Fresh world-model blocks are the identity whatever the latent action; without this no gradient would reach it.
        for block in model.lam.decoder.dec_layers:
            block.adaLN_modulation[1].weight.normal_(std=0.1)
    losses = losses_of(model, config, options)
    terms = ("flow", "perceptual", "distill")
    return {term: {group for group, size in gradient_groups(model, losses[term]).items() if size > 0} for term in terms}


def test_every_loss_reaches_what_it_should_and_nothing_else(model, config):
    reached = reached_groups(model, config, OPTIONS)
    assert reached["flow"] == {"vlm.", "act_query", "flow_action_query", "flow."}
    assert reached["perceptual"] == {"vlm.", "act_query", "vlm_to_lam.", "lam.decoder."}
    assert reached["distill"] == {"vlm.", "act_query", "vlm_to_lam."}


def test_total_is_the_weighted_sum(model, config):
    losses = losses_of(model, config)
    torch.testing.assert_close(losses["total"], losses["flow"] + 0.1 * losses["perceptual"] + 0.1 * losses["distill"])


def test_stages_train_disjoint_halves_around_the_decoder(model):
    first, second = set(stage1_parameters(model)), set(stage2_parameters(model, TRAINED))
    assert {name for name in first & second if not name.startswith("lam.decoder.")} == set()
    rest = {name for name, _ in model.named_parameters()} - first - second
    assert all(name.startswith("lam.vision_encoder.") for name in rest)


def test_losses_fall_on_a_small_batch(model, config):
    batch, parameters = policy_batch(config), stage2_parameters(model, TRAINED)
    optimiser = torch.optim.AdamW(parameters.values(), lr=3e-3)
    curve = []
    for _ in range(80):
        losses = losses_of(model, config, batch=batch)
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
        losses = world_model_losses(model.lam, batch, WorldModelOptions(), torch.zeros(BATCH, 1, config.lam.code_dim))
        optimiser.zero_grad()
        losses["total"].backward()
        optimiser.step()
        curve.append({name: float(value.detach()) for name, value in losses.items()})
    assert curve[-1]["reconstruction"] < 0.95 * curve[0]["reconstruction"]
    assert curve[-1]["state"] < 0.5 * curve[0]["state"]


@pytest.mark.parametrize("hz", [20.0, 10.0])
@pytest.mark.parametrize("per_token", [False, True])
def test_repeats_equal_a_tiled_batch(model, config, hz, per_token):
    """10 Hz leaves half of the rows invalid and the second prompt is shorter, so all masks are at work."""
    model.eval()
    batch, repeats, noise = policy_batch(config), 3, torch.Generator().manual_seed(3)
    x = torch.randn(BATCH, repeats, 24, config.flow.action_dim, generator=noise)
    bucket = torch.randint(0, 1000, (BATCH, repeats, 24) if per_token else (BATCH, repeats), generator=noise)
    frequency = torch.full((BATCH,), hz)
    with torch.no_grad():
        output = model.vlm_forward(batch.prompt, batch.frames)
        assert output.attention_mask is not None
        context = model.flow.context(*batch.features.unbind(1), output.h_vlm, output.attention_mask)
        ours = repeated_velocity(model.flow, x, bucket, context, frequency, batch.embodiment_id, batch.state)
        for repeat in range(repeats):
            expected = model.flow.velocity(x[:, repeat], bucket[:, repeat], context, frequency, batch.embodiment_id, batch.state)
            valid = int(1.2 * hz)
            torch.testing.assert_close(ours[:, repeat, :valid], expected[:, :valid], atol=1e-5, rtol=1e-4)


def test_a_future_that_is_not_detached_trains_the_world_model(model, config):
    reached = reached_groups(model, config, replace(OPTIONS, detach_future=False))
    assert reached["flow"] == {"vlm.", "act_query", "flow_action_query", "vlm_to_lam.", "lam.decoder.", "flow."}


def test_true_futures_carry_the_gradient_of_the_prediction(model, config):
    scheduled = replace(OPTIONS, detach_future=False, scheduled=ScheduledSampling(0.0, 1.0, 10))
    batch = policy_batch(config)
    trace = policy_trace(model, batch, scheduled, draws_of(config, scheduled), step=0)
    expected = batch.features[:, 1:].expand(-1, OPTIONS.repeats, -1, -1)
    torch.testing.assert_close(trace.condition, expected)
    assert "lam.decoder." in reached_groups(model, config, scheduled)["flow"]
    later = policy_trace(model, batch, scheduled, draws_of(config, scheduled), step=10)
    torch.testing.assert_close(later.condition, later.predicted[:, None].expand_as(later.condition))
    model.eval()
    asleep = policy_trace(model, batch, scheduled, draws_of(config, scheduled), step=0)
    torch.testing.assert_close(asleep.condition, asleep.predicted[:, None])


def test_own_contexts_equal_the_shared_one(model, config):
    """With the probability at one every sample reads the prediction, so both ways must agree."""
    batch, scheduled = policy_batch(config), replace(OPTIONS, scheduled=ScheduledSampling(1.0, 1.0, 0))
    draws = draws_of(config, OPTIONS)
    shared = policy_trace(model, batch, OPTIONS, draws)
    own = policy_trace(model, batch, scheduled, replace(draws, prediction=torch.rand(BATCH, OPTIONS.repeats)))
    torch.testing.assert_close(own.velocity, shared.velocity, atol=1e-5, rtol=1e-4)


def test_guidance_dropout_hides_the_future(model, config):
    model.flow.config = replace(config.flow, cfg_drop_prob=0.5)
    batch, draws = policy_batch(config), draws_of(config, OPTIONS)
    dropped = replace(draws, drop=torch.zeros(BATCH, OPTIONS.repeats))
    kept = replace(draws, drop=torch.ones(BATCH, OPTIONS.repeats))
    other = replace(batch, features=batch.features + torch.tensor([0.0, 1.0])[None, :, None, None])
    options = replace(OPTIONS, scheduled=ScheduledSampling(0.0, 0.0, 0))
    uniform = torch.ones(BATCH, OPTIONS.repeats)
    for draw, same in ((dropped, True), (kept, False)):
        first, second = (policy_trace(model, one, options, replace(draw, prediction=uniform)).velocity for one in (batch, other))
        assert torch.allclose(first, second, atol=1e-5) == same


def test_without_foresight_the_action_expert_reads_the_present_twice(model, config):
    model.config = replace(config, training=dict(config.training) | {"future_prediction": False})
    options = policy_options(model.config.training, config.flow.action_horizon)
    trace = policy_trace(model, policy_batch(config), options, draws_of(config, options))
    torch.testing.assert_close(trace.predicted, trace.features[:, 0])
    assert options.perceptual == 0.0
    trace.losses["total"].backward()
    assert all(parameter.grad is None for parameter in model.lam.decoder.parameters())
    assert model.act_query.grad is not None


def test_flow_only_reaches_later_language_states_only(model, config):
    batch = policy_batch(config)
    for flow_only in (False, True):
        trace = policy_trace(model, batch, replace(OPTIONS, flow_only=flow_only), draws_of(config, OPTIONS))
        (gradient,) = torch.autograd.grad(trace.losses["flow"], trace.language.h_vlm)
        last = batch.prompt.act_mask.cumsum(1).argmax(1)
        before = torch.arange(gradient.shape[1]) <= last[:, None]
        assert bool(gradient[before].abs().sum() == 0) == flow_only
        assert gradient[~before & batch.prompt.attention_mask].abs().sum() > 0


def test_clean_prefixes_have_no_loss_and_no_noise(model, config):
    """Trained real-time chunking: the loss counts the rest only, divided by its entries, and noise in the prefix changes nothing."""
    options, batch = replace(OPTIONS, max_delay_steps=5), policy_batch(config)
    draws = draws_of(config, options)
    assert draws.delay is not None and draws.delay.min() >= 0 and draws.delay.max() <= 5 and len(draws.delay.unique()) > 2
    trace = policy_trace(model, batch, options, draws)
    clean = torch.arange(24) < draws.delay[..., None]
    noisier = replace(draws, noise=torch.where(clean[..., None], draws.noise + 9.0, draws.noise))
    torch.testing.assert_close(policy_trace(model, batch, options, noisier).velocity, trace.velocity)
    mask = batch.action_mask[:, None] & ~clean[..., None]
    expected = masked_flow_loss(trace.velocity, batch.actions[:, None] - draws.noise, mask)
    torch.testing.assert_close(trace.losses["flow"], expected)
    assert int(mask.sum()) == int((24 - draws.delay).sum()) * 7


def test_delays_leave_a_step_to_learn(config):
    options = replace(OPTIONS, max_delay_steps=20, repeats=200)
    draws = draw_flow(config.flow, options, torch.tensor([1, 3, 24]), torch.Generator().manual_seed(0))
    assert [sorted(row.unique().tolist()) for row in draws.delay] == [[0], [0, 1, 2], list(range(21))]


def test_flow_time_follows_its_law(config):
    """tau = (1 - u) * 0.999 with u ~ Beta(1.5, b): P(u < x) = x^1.5 for b = 1."""
    generator = torch.Generator().manual_seed(0)
    options, valid = replace(OPTIONS, repeats=50_000), torch.full((BATCH,), 24)
    flow = replace(config.flow, action_horizon=1, action_dim=1)
    u = 1 - draw_flow(flow, options, valid, generator).flow_time.double() / 0.999
    for x in (0.25, 0.5, 0.9):
        assert (u < x).double().mean().item() == pytest.approx(x**1.5, abs=0.005)
    other = 1 - draw_flow(replace(flow, noise_beta_beta=2.0), options, valid, generator).flow_time.double() / 0.999
    assert other.mean().item() == pytest.approx(1.5 / 3.5, abs=0.003)
    per_token = draw_flow(replace(config.flow, token_independent_noise=True), OPTIONS, valid, generator)
    assert per_token.flow_time.shape == (BATCH, OPTIONS.repeats, 24) and len(per_token.flow_time.unique()) > 24


def test_options_read_official_keys_and_refuse_nonsense():
    assert policy_options({}, 50) == PolicyOptions(perceptual=0.1, distill=1.0, repeats=4, detach_future=False)
    given = {"repeated_diffusion_steps": 2, "latent_loss_type": "cosine", "enable_flow_h_t1_scheduled_sampling": True}
    options = policy_options(given | {"flow_h_t1_pred_prob_start": 0.25, "trained_delay_steps": 4}, 50)
    assert (options.repeats, options.latent_loss, options.max_delay_steps) == (2, "cosine", 4)
    assert options.scheduled is not None and [options.scheduled.probability(s) for s in (0, 5000, 20000)] == [0.25, 0.625, 1.0]
    for wrong in ({"latent_loss_type": "l7"}, {"trained_delay_steps": 50}, {"perceptual_weight": -1.0}):
        with pytest.raises(UserMistake, match=next(iter(wrong))):
            policy_options(wrong, 50)


@pytest.mark.parametrize(
    ("switches", "trained", "frozen"),
    [
        ({}, ("vlm.model.visual.blocks.0", "lam.decoder", "flow.DiT", "act_query"), ("vlm.model.language_model.embed_tokens", "lam.vq")),
        ({"freeze_vision_backbone": True}, ("vlm.model.visual.merger", "vlm.model.visual.deepstack"), ("vlm.model.visual.blocks",)),
        (
            {"freeze_vision_backbone": True, "unfreeze_vision_merger": False},
            ("vlm.model.language_model.layers",),
            ("vlm.model.visual.merger",),
        ),
        ({"freeze_llm_backbone": True}, ("vlm.model.visual.blocks",), ("vlm.model.language_model.layers", "vlm.model.language_model.norm")),
        (
            {"freeze_llm_backbone": True, "unfreeze_llm_last_n_layers": 1},
            ("vlm.model.language_model.layers.1", "vlm.model.language_model.norm"),
            ("vlm.model.language_model.layers.0",),
        ),
        ({"unfreeze_lam_decoder": False}, ("vlm_to_lam",), ("lam.decoder",)),
    ],
)
def test_freeze_switches(model, switches, trained, frozen):
    train_only(model, stage2_parameters(model, freeze_policy(switches)))
    for prefix, wanted in [*((p, True) for p in trained), *((p, False) for p in frozen)]:
        found = [parameter.requires_grad for name, parameter in model.named_parameters() if name.startswith(prefix)]
        assert found and all(one == wanted for one in found), prefix
    assert model.training and model.flow.training and not model.lam.encoder.training and not model.lam.vision_encoder.training
    assert model.lam.decoder.training == switches.get("unfreeze_lam_decoder", True)
