"""One observation to action chunks on the packed model, in the four stages that are timed."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import torch
from torch import Tensor

from lawam_ros.model.fast.denoise import Guide, VelocityOf, chunk_tables, denoise
from lawam_ros.model.fast.dense import Rotary
from lawam_ros.model.fast.dino import dino_features, pack_dino
from lawam_ros.model.fast.head import (
    DenoisingTables,
    HeadStack,
    embodiment_weights,
    head_context,
    pack_head,
    tokens_before,
    velocity,
)
from lawam_ros.model.fast.language import LanguageStack, language_states, pack_language, plain_positions
from lawam_ros.model.fast.precision import Precision
from lawam_ros.model.fast.tower import TowerStack, image_tokens, pack_tower
from lawam_ros.model.fast.world_model import WorldModelStack, pack_world_model, predicted_features
from lawam_ros.model.flow_head import valid_steps
from lawam_ros.model.lawam import LaWAM
from lawam_ros.model.prompt import PromptBatch
from lawam_ros.model.vision_encoder import DinoEncoder


@dataclass(frozen=True)
class PackedModel:
    """All weights inference reads. encode: one frame (3, S, S) to float32 features (N, F)."""

    model: LaWAM
    precision: Precision
    tower: TowerStack
    language: LanguageStack
    encode: Callable[[Tensor], Tensor]
    world_model: WorldModelStack
    head: HeadStack


@dataclass(frozen=True)
class PromptTensors:
    """A prompt as the language layers read it: embeddings (L, D) with the queries in place, rows of image tokens and of action queries."""

    embeds: Tensor
    image_index: Tensor
    act_index: Tensor
    positions: Rotary


@dataclass(frozen=True)
class ChunkTensors:
    """Everything that changes from chunk to chunk, on the model's device.

    frames: uint8 or float 0..255 (V, 3, S, S), primary before wrist; subgoal_view: whose future is predicted. noise (N, n, A). state,
    state_mask: (1, state_dim) normalised and which of it exists, None if the model uses no state. guide: see :class:`Guide`. subgoal:
    features (patches, F) the action expert reads in place of the predicted ones, to see what it makes of them; None reads the predicted.
    """

    frames: Tensor
    prompt: PromptTensors
    noise: Tensor
    state: Tensor | None = None
    state_mask: Tensor | None = None
    guide: Guide | None = None
    subgoal_view: int = 0
    subgoal: Tensor | None = None


@dataclass(frozen=True)
class Chunks:
    """actions: normalised (N, n, A). h_t, h_t1: features (patches, F) now and predicted."""

    actions: Tensor
    h_t: Tensor
    h_t1: Tensor


@dataclass(frozen=True)
class DenoisingPlan:
    """Rate, steps and guidance of a chunk with the tables they give."""

    tables: DenoisingTables
    guidance_scale: float


@dataclass(frozen=True)
class Stages:
    """The four stages as functions, plain or compiled."""

    read_language: Callable[[PackedModel, ChunkTensors], tuple[Tensor, Tensor]]
    read_image: Callable[[PackedModel, ChunkTensors], Tensor]
    foresee: Callable[[PackedModel, Tensor, Tensor], Tensor]
    act: Callable[[PackedModel, ChunkTensors, DenoisingPlan, Tensor, Tensor, Tensor], Tensor]


def plain_stages() -> Stages:
    return Stages(read_language, read_image, foresee, act)


def compiled_stages(backend: str = "inductor") -> Stages:
    """Each stage and one denoising step through ``torch.compile``: fused kernels, slow first chunks."""

    def compiled(work: Callable[..., Any]) -> Callable[..., Any]:
        return torch.compile(work, backend=backend, fullgraph=True, dynamic=False)

    velocity_of = compiled(velocity)

    def act_with_it(packed: PackedModel, given: ChunkTensors, plan: DenoisingPlan, h_t: Tensor, h_t1: Tensor, h_vlm: Tensor) -> Tensor:
        return act(packed, given, plan, h_t, h_t1, h_vlm, velocity_of)

    return Stages(compiled(read_language), compiled(read_image), compiled(foresee), act_with_it)


def pack_model(model: LaWAM, precision: Precision, embodiment_row: int = 0) -> PackedModel:
    """Pack ``model`` in place: its parameters become views of the packed weights, in the types of ``precision``."""
    return PackedModel(
        model=model,
        precision=precision,
        tower=pack_tower(model.vlm, precision.language),
        language=pack_language(model.vlm.model.language_model, precision.language),
        encode=_frozen_encoder(model, precision),
        world_model=pack_world_model(model.lam.decoder, precision.world_model),
        head=pack_head(model.flow, embodiment_row, precision.head),
    )


def _frozen_encoder(model: LaWAM, precision: Precision) -> Callable[[Tensor], Tensor]:
    encoder = model.lam.vision_encoder
    if isinstance(encoder, DinoEncoder):
        return partial(dino_features, pack_dino(encoder, model.config.image_size, precision.vision))

    def encode(frame: Tensor) -> Tensor:
        return encoder(frame[None])[0]

    return encode


def for_embodiment(packed: PackedModel, row: int) -> PackedModel:
    """The same model with the action layers of another embodiment."""
    return replace(packed, head=embodiment_weights(packed.head, row))


def on_device(given: ChunkTensors, device: torch.device) -> ChunkTensors:
    """The tensors that change with every chunk on ``device``; the prompt is there already."""
    guide = given.guide and replace(given.guide, target=given.guide.target.to(device), mask=given.guide.mask.to(device))
    tensors = {name: getattr(given, name) for name in ("frames", "noise", "state", "state_mask", "subgoal")}
    moved = {name: tensor.to(device) for name, tensor in tensors.items() if tensor is not None}
    return replace(given, guide=guide, **moved)


def prompt_tensors(packed: PackedModel, prompt: PromptBatch) -> PromptTensors:
    """Tensors of an unpadded batch of one prompt, on the model's device."""
    text = packed.model.vlm.model.language_model
    dtype = packed.precision.language
    embeds = text.embed_tokens(prompt.input_ids[0]).to(dtype)
    act, flow = prompt.act_mask[0].nonzero()[:, 0], prompt.flow_mask[0].nonzero()[:, 0]
    embeds = embeds.index_copy(0, act, packed.model.act_query.to(dtype)).index_copy(0, flow, packed.model.flow_action_query.to(dtype))
    positions = plain_positions(text, len(embeds), embeds.device, dtype)
    return PromptTensors(embeds, prompt.image_mask[0].nonzero()[:, 0], act, positions)


def denoising_plan(packed: PackedModel, steps: int, action_hz: float, guidance_scale: float, clean_rows: int = 0) -> DenoisingPlan:
    """Plan for chunks at ``action_hz``; ``clean_rows`` leading actions are set, not denoised (trained real-time chunking)."""
    flow = packed.model.flow
    tables = chunk_tables(packed.head, steps, valid_steps(flow.config, action_hz), action_hz, flow.tokens_before_actions, clean_rows)
    return DenoisingPlan(tables, guidance_scale)


def read_language(packed: PackedModel, given: ChunkTensors) -> tuple[Tensor, Tensor]:
    """Stage ``language``: states h_vlm (L, D) and latent action z (1, code_dim)."""
    images, deepstack = image_tokens(packed.tower, given.frames)
    prompt = given.prompt
    embeds = prompt.embeds.index_copy(0, prompt.image_index, images.to(prompt.embeds.dtype))
    h_vlm = language_states(packed.language, embeds, prompt.positions, prompt.image_index, deepstack)
    z = packed.model.vlm_to_lam(h_vlm.index_select(0, prompt.act_index)[None].float())
    return h_vlm, z.flatten(1)


def read_image(packed: PackedModel, given: ChunkTensors) -> Tensor:
    """Stage ``vision``: features h_t (N, F) of the view whose future is predicted."""
    return packed.encode(given.frames[given.subgoal_view])


def foresee(packed: PackedModel, h_t: Tensor, z: Tensor) -> Tensor:
    """Stage ``world_model``: the subgoal h_t1 (N, F)."""
    return predicted_features(packed.world_model, h_t, z) if packed.model.foresees else h_t


def act(
    packed: PackedModel,
    given: ChunkTensors,
    plan: DenoisingPlan,
    h_t: Tensor,
    h_t1: Tensor,
    h_vlm: Tensor,
    velocity_of: VelocityOf = velocity,
) -> Tensor:
    """Stage ``actions``: normalised chunks (N, n, A)."""
    guided = plan.guidance_scale != 1.0
    context = head_context(packed.head, h_t, h_t1 if given.subgoal is None else given.subgoal, h_vlm, guided)
    prefix = tokens_before(packed.head, given.state, given.state_mask)
    return denoise(packed.head, given.noise, context, plan.tables, prefix, plan.guidance_scale, given.guide, velocity_of)
