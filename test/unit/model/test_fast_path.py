"""The engine's transcription against the modules it transcribes, in sizes, types and settings no golden folder has."""

import copy
from dataclasses import replace

import pytest
import torch

from lawam_ros.model import eager
from lawam_ros.model.config import load_model_config
from lawam_ros.model.fast import chunk as fast
from lawam_ros.model.fast.denoise import Guide, chunk_tables, denoise
from lawam_ros.model.fast.head import head_context, pack_head, tokens_before, velocity
from lawam_ros.model.fast.precision import precision_of
from lawam_ros.model.fast.run_chunk import CapturedChunk, can_capture, capture_key, run_directly
from lawam_ros.model.flow_head import FlowHead, valid_steps
from lawam_ros.model.lawam import LaWAM
from lawam_ros.model.random_model import random_frames, random_model, random_prompt

DINO = {
    "model_type": "dinov3_vit", "hidden_size": 48, "intermediate_size": 96, "num_hidden_layers": 3, "num_attention_heads": 3,
    "num_register_tokens": 2, "patch_size": 16, "image_size": 224, "layer_norm_eps": 1e-5, "rope_theta": 100.0,
}  # fmt: skip
HZ = 15.0


@pytest.fixture(autouse=True)
def no_gradients():
    torch.set_num_threads(1)
    with torch.no_grad():
        yield


def small_config(dino: dict | None = None, **flow):
    tiny = load_model_config("tiny")
    base = dict(tiny.base_vlm)
    base["text_config"] = dict(base["text_config"]) | {"hidden_size": 64, "intermediate_size": 96, "head_dim": 16, "num_attention_heads": 4}
    base["text_config"]["rope_parameters"] = dict(base["text_config"]["rope_parameters"]) | {"mrope_section": [4, 2, 2]}
    base["vision_config"] = dict(base["vision_config"]) | {
        "hidden_size": 32,
        "intermediate_size": 64,
        "out_hidden_size": 64,
        "num_heads": 2,
    }
    encoder = DINO | (dino or {})
    head = replace(
        tiny.flow, vlm_dim=64, vision_dim=48, hidden_dim=32, attention_heads=4, num_layers=5, num_embodiments=3, action_dim=5, **flow
    )  # fmt: skip
    return replace(tiny, base_vlm=base, vision_encoder=encoder, lam=replace(tiny.lam, dim=32, num_heads=2), flow=head, language_layers=3)


def observation(config, views: int = 3, seed: int = 5):
    """The same observation as both ways read it."""
    prompt = random_prompt(config, views, seed)
    generator = torch.Generator().manual_seed(seed)
    noise = torch.randn(1, config.flow.action_horizon, config.flow.action_dim, generator=generator)
    state = torch.rand(1, config.flow.state_dim, generator=generator) * 2 - 1 if config.flow.use_state else None
    mask = torch.arange(config.flow.state_dim)[None] < 4 if config.flow.use_state else None
    return eager.EagerInputs(
        prompt, random_frames(config, views, seed), noise, torch.tensor([HZ]), torch.tensor([2]), state, mask
    )  # fmt: skip


def packed_inputs(packed, given, rows: int, **changes):
    inputs = fast.ChunkTensors(
        given.frames, fast.prompt_tensors(packed, given.prompt), given.noise[:, :rows], given.state, given.state_mask
    )  # fmt: skip
    return replace(inputs, **changes)


@pytest.mark.parametrize("guidance", [1.0, 1.7])
@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"use_state": False},
        {"num_target_vision_tokens": 3},
        {"use_state": False, "use_action_positional_embeddings": False},
        {"attend_text_every_n_blocks": 1},
        {"num_timestep_buckets": 50},
    ],
)
def test_chunks_equal_the_plain_computation(changes, guidance):
    config = small_config(**changes)
    model = random_model(config)
    given = observation(config)
    expected, h_t, h_t1 = eager.eager_chunk(copy.deepcopy(model), given, steps=4, guidance_scale=guidance)
    packed = fast.pack_model(model, precision_of("float32"), embodiment_row=2)
    plan = fast.denoising_plan(packed, 4, HZ, guidance)
    rows = valid_steps(config.flow, HZ)
    assert rows == 18 < config.flow.action_horizon
    chunks, stages = run_directly(packed, packed_inputs(packed, given, rows), plan)
    torch.testing.assert_close(chunks.actions, expected[:, :rows], atol=2e-5, rtol=0)
    torch.testing.assert_close(chunks.h_t, h_t[0], atol=2e-5, rtol=0)
    torch.testing.assert_close(chunks.h_t1, h_t1[0], atol=2e-5, rtol=0)
    assert list(stages) == ["language", "vision", "world_model", "actions"]


def test_gated_dino_and_missing_biases():
    config = small_config(dino={"use_gated_mlp": True, "hidden_act": "silu", "key_bias": False, "mlp_bias": False, "proj_bias": False})
    model = random_model(config)
    given = observation(config, views=1)
    expected = eager.read_image(model, given)
    packed = fast.pack_model(model, precision_of("float32"))
    torch.testing.assert_close(fast.read_image(packed, packed_inputs(packed, given, 18)), expected[0], atol=2e-5, rtol=0)


def test_packing_changes_neither_the_model_nor_its_memory():
    config = small_config()
    model = random_model(config)
    given = observation(config)
    before = {name: parameter.clone() for name, parameter in model.named_parameters()}
    expected, *_ = eager.eager_chunk(model, given, 3)
    packed = fast.pack_model(model, precision_of("float32"))
    assert all(torch.equal(parameter, before[name]) for name, parameter in model.named_parameters())
    again, *_ = eager.eager_chunk(model, given, 3)
    torch.testing.assert_close(again, expected, atol=1e-6, rtol=0)
    assert packed.language.layers[0].qkv.weight.data_ptr() == model.vlm.model.language_model.layers[0].self_attn.q_proj.weight.data_ptr()
    assert packed.head.text.weight.data_ptr() == model.flow.DiT.transformer_blocks[0].attn1.to_k.weight.data_ptr()


def test_chunks_of_one_observation_share_everything_but_the_noise():
    config = small_config(use_state=True)
    packed = fast.pack_model(random_model(config), precision_of("float32"))
    given, plan = observation(config), fast.denoising_plan(packed, 3, HZ, 1.5)
    noise = torch.randn(4, 18, config.flow.action_dim, generator=torch.Generator().manual_seed(1))
    together = run_directly(packed, packed_inputs(packed, given, 18, noise=noise), plan)[0].actions
    alone = [run_directly(packed, packed_inputs(packed, given, 18, noise=one[None]), plan)[0].actions[0] for one in noise]
    torch.testing.assert_close(together, torch.stack(alone), atol=1e-5, rtol=0)
    assert (together[0] - together[1]).abs().max() > 0.1


@pytest.mark.parametrize("dtype", ["bfloat16", "bfloat16_head"])
def test_reduced_precision_stays_close(dtype):
    config = small_config()
    model = random_model(config)
    reference = copy.deepcopy(model)
    packed = fast.pack_model(model, precision_of(dtype), embodiment_row=2)
    assert packed.language.layers[0].qkv.weight.dtype == torch.bfloat16
    assert packed.head.blocks[0].up.weight.dtype == (torch.bfloat16 if dtype == "bfloat16_head" else torch.float32)
    given, plan = observation(config), fast.denoising_plan(packed, 5, HZ, 1.0)
    expected = eager.eager_chunk(reference, given, 5)[0][:, :18]
    got = run_directly(packed, packed_inputs(packed, given, 18), plan)[0].actions
    assert got.dtype == torch.float32
    cosine = torch.nn.functional.cosine_similarity(expected.flatten(), got.flatten(), dim=0)
    assert cosine > 0.9999
    assert not torch.equal(expected, got)


def head_of(config) -> FlowHead:
    return random_model(config).flow


def test_clean_rows_have_their_own_flow_time():
    """Trained real-time chunking: the leading rows are set and carry the last bucket, as a head with one flow time per token sees them."""
    config = small_config(use_state=True, token_independent_noise=True, num_target_vision_tokens=2)
    flow, generator = head_of(config), torch.Generator().manual_seed(3)
    stack = pack_head(flow, 1, torch.float32)
    h_t, h_t1 = (torch.randn(256, 48, generator=generator) for _ in range(2))
    h_vlm, x = torch.randn(30, 64, generator=generator), torch.randn(1, 18, 5, generator=generator)
    state, mask = torch.rand(1, 10, generator=generator), torch.ones(1, 10, dtype=torch.bool)
    hz, robot = torch.tensor([HZ]), torch.tensor([1])
    tables = chunk_tables(stack, 4, 18, HZ, flow.tokens_before_actions, clean_rows=5)
    got = velocity(stack, x, tables.at(2), head_context(stack, h_t, h_t1, h_vlm, False), tokens_before(stack, state, mask))
    bucket = torch.full((1, config.flow.action_horizon), 500)
    bucket[0, :5] = 999
    padded = torch.nn.functional.pad(x, (0, 0, 0, config.flow.action_horizon - 18))
    expected = flow.velocity(padded, bucket, flow.context(h_t[None], h_t1[None], h_vlm[None], None), hz, robot, state, mask)
    torch.testing.assert_close(got[0], expected[:, :18], atol=2e-5, rtol=0)

    target, noise = torch.randn(18, 5, generator=generator), torch.randn(2, 18, 5, generator=generator)
    guide = Guide(target, torch.zeros(18, 5), 5, 5.0, 1.0, "identity")
    context = head_context(stack, h_t, h_t1, h_vlm, False)
    chunk = denoise(stack, noise, context, tables, tokens_before(stack, state, mask), 1.0, guide)
    assert torch.equal(chunk[:, :5], target[:5].expand(2, -1, -1))
    assert not torch.allclose(chunk[0, 5:], chunk[1, 5:])


class HostMachine:
    """Stands in for a CUDA device: captured work runs again on replay, into the tensors it gave the first time."""

    def __init__(self):
        self.replays, self.waits, self.times = 0, 0, iter(range(1000))

    def warm_up(self, work):
        work()

    def capture(self, work):
        results = work()

        def replay():
            self.replays += 1
            for kept, fresh in zip(_flat(results), _flat(work()), strict=True):
                kept.copy_(fresh)

        return replay, results

    def beside(self, first, second):
        return first(), second()

    def host_buffer(self, like):
        return torch.empty_like(like)

    def mark(self):
        return next(self.times)

    def elapsed_ms(self, start, end):
        return float(end - start)

    def wait(self):
        self.waits += 1


def _flat(value):
    return [value] if isinstance(value, torch.Tensor) else [tensor for part in value for tensor in _flat(part)]


def test_captured_chunks_follow_their_inputs():
    config = small_config(use_state=True)
    packed = fast.pack_model(random_model(config), precision_of("float32"))
    plan = fast.denoising_plan(packed, 3, HZ, 1.0)
    machine = HostMachine()
    guide = Guide(torch.randn(18, 5), torch.rand(18, 5), 0, 5.0, 1.0, "identity")
    first = packed_inputs(packed, observation(config, seed=1), 18, guide=guide)
    captured = CapturedChunk(packed, first, plan, machine)
    second = packed_inputs(packed, observation(config, seed=2), 18, guide=replace(guide, target=torch.randn(18, 5)))
    assert capture_key(first, "plan") == capture_key(second, "plan")
    for given in (first, second, first):
        chunks, stages = captured.run(given)
        expected, _ = run_directly(packed, given, plan)
        for got, wanted in ((chunks.actions, expected.actions), (chunks.h_t, expected.h_t), (chunks.h_t1, expected.h_t1)):
            torch.testing.assert_close(got, wanted, atol=1e-6, rtol=0)
        assert stages == {"language": 1.0, "world_model": 1.0, "actions": 1.0}
    assert (machine.replays, machine.waits) == (9, 3)


def test_what_is_captured_apart():
    config = small_config()
    packed = fast.pack_model(random_model(config), precision_of("float32"))
    given = packed_inputs(packed, observation(config), 18)
    guide = Guide(torch.zeros(18, 5), torch.ones(18, 5), 0, 5.0, 1.0, "identity")
    others = [
        (replace(given, frames=given.frames[:2]), "plan"),
        (replace(given, noise=given.noise.repeat(2, 1, 1)), "plan"),
        (replace(given, guide=guide), "plan"),
        (replace(given, guide=replace(guide, max_weight=4.0)), "plan"),
        (replace(given, subgoal_view=1), "plan"),
        (given, "other plan"),
    ]
    keys = {capture_key(given, "plan"), *(capture_key(*other) for other in others)}
    assert len(keys) == len(others) + 1
    assert can_capture(given) and can_capture(replace(given, guide=guide))
    assert not can_capture(replace(given, guide=replace(guide, jacobian="exact")))


def test_compiled_stages_trace_without_a_break():
    config = small_config()
    packed = fast.pack_model(random_model(config), precision_of("float32"))
    given, plan = packed_inputs(packed, observation(config), 18), fast.denoising_plan(packed, 3, HZ, 1.0)
    expected, _ = run_directly(packed, given, plan)
    got, _ = run_directly(packed, given, plan, fast.compiled_stages(backend="eager"))
    torch.testing.assert_close(got.actions, expected.actions, atol=1e-6, rtol=0)


def test_random_models_have_no_dead_or_exploding_numbers():
    model: LaWAM = random_model(small_config())
    given = observation(model.config)
    actions, h_t, h_t1 = eager.eager_chunk(model, given, 2)
    assert 0.1 < actions[:, :18].std() < 10 and 0.5 < h_t.std() < 2 and 0.1 < h_t1.std() < 10
