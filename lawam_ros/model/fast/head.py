"""The action expert for one observation: only valid tokens, everything constant over denoising computed once.

Shapes: N chunks share the observation; G is 2 under classifier-free guidance (with subgoal, then without), otherwise 1; n valid actions;
T = n plus the tokens before them; S denoising steps; A action_dim.
"""

from dataclasses import dataclass, replace

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from lawam_ros.model.embodiment_linear import EmbodimentLinear
from lawam_ros.model.fast.dense import Dense, attend, heads_of, layer_norm, pack
from lawam_ros.model.flow_head import FlowHead, valid_steps
from lawam_ros.model.position_codes import physical_time_code

KeyValue = tuple[Tensor, Tensor]
TwoLayers = tuple[Tensor, Tensor, Tensor, Tensor]


@dataclass(frozen=True)
class HeadBlock:
    """reads: ``text``, ``image`` or ``self``. query: queries only, or queries, keys and values of a ``self`` block."""

    reads: str
    query: Dense
    output: Dense
    up: Dense
    down: Dense


@dataclass(frozen=True)
class HeadStack:
    """Weights for one embodiment. text, image: keys and values of all blocks that read that half, one block after the other.

    encoder, decoder: (weight (in, out), bias (out,)) twice each, as the embodiment layers store them; row (1,): where they store them.
    """

    flow: FlowHead
    row: Tensor
    blocks: tuple[HeadBlock, ...]
    text: Dense
    image: Dense
    heads: int
    encoder: TwoLayers
    decoder: TwoLayers
    output: Dense
    dtype: torch.dtype


@dataclass(frozen=True)
class HeadContext:
    """Keys and values per block that reads text, (1, heads, L, d), and images, (G, heads, 2 * patches, d)."""

    text: list[KeyValue]
    image: list[KeyValue]


@dataclass(frozen=True)
class DenoisingTables:
    """What depends on rate, number of steps and flow time per token only, so on nothing that is observed.

    scale (S, blocks, t, dim): one plus the scale; shift (S, blocks, T, dim): the shift plus the physical-time code; t is 1 where all
    tokens share their flow time, else T. out_scale, out_shift (S, t, dim).
    """

    scale: Tensor
    shift: Tensor
    out_scale: Tensor
    out_shift: Tensor

    @property
    def steps(self) -> int:
        return len(self.scale)

    def at(self, step: int) -> "DenoisingTables":
        """The tables of one step, without the leading axis."""
        return DenoisingTables(self.scale[step], self.shift[step], self.out_scale[step], self.out_shift[step])


def pack_head(flow: FlowHead, embodiment_row: int, dtype: torch.dtype) -> HeadStack:
    """Weights of the head; ``embodiment_row`` indexes the first dimension of its embodiment layers."""
    blocks: list[HeadBlock] = []
    halves: dict[str, list[nn.Linear]] = {"text": [], "image": []}
    for index, block in enumerate(flow.DiT.transformer_blocks):
        attention, (up, _, down, _) = block.attn1, block.ff.net
        reads = "self" if index % 2 else "text" if index % flow.DiT.text_period == 0 else "image"
        queries = [attention.to_q, attention.to_k, attention.to_v] if reads == "self" else [attention.to_q]
        if reads != "self":
            halves[reads] += [attention.to_k, attention.to_v]
        blocks.append(
            HeadBlock(reads, pack(queries, dtype), pack([attention.to_out[0]], dtype), pack([up.proj], dtype), pack([down], dtype))
        )
    weights = _embodiment_rows(flow, embodiment_row, dtype)
    return HeadStack(
        flow=flow,
        row=_row_index(flow, embodiment_row),
        blocks=tuple(blocks),
        text=pack(halves["text"], dtype),
        image=pack(halves["image"], dtype) if halves["image"] else Dense(torch.empty(0), None),
        heads=flow.config.attention_heads,
        encoder=weights[0],
        decoder=weights[1],
        output=pack([flow.DiT.proj_out_2], dtype),
        dtype=dtype,
    )


def embodiment_weights(stack: HeadStack, row: int) -> HeadStack:
    """The same head with the embodiment layers of ``row``."""
    encoder, decoder = _embodiment_rows(stack.flow, row, stack.dtype)
    return replace(stack, row=_row_index(stack.flow, row), encoder=encoder, decoder=decoder)


def _row_index(flow: FlowHead, row: int) -> Tensor:
    return torch.tensor([row], device=flow.cfg_embeddings.device)


def _embodiment_rows(flow: FlowHead, row: int, dtype: torch.dtype) -> tuple[TwoLayers, TwoLayers]:
    def both(first: EmbodimentLinear, second: EmbodimentLinear) -> TwoLayers:
        w1, b1, w2, b2 = (part.data[row].to(dtype) for layer in (first, second) for part in (layer.W, layer.b))
        return w1, b1, w2, b2

    encoder, decoder = flow.action_encoder, flow.action_decoder
    return both(encoder.W1, encoder.W2), both(decoder.layer1, decoder.layer2)


def head_context(stack: HeadStack, h_t: Tensor, h_t1: Tensor, h_vlm: Tensor, guided: bool) -> HeadContext:
    """Keys and values of features (N_patches, F) now and predicted and of language states (L, D).

    guided: also without the subgoal, where the learned unconditional embedding stands for the prediction.
    """
    projection, norm = stack.flow.enc_vlm.net
    text = layer_norm(norm)(F.linear(h_vlm.to(projection.weight.dtype), projection.weight, projection.bias))
    futures = [h_t1.float(), stack.flow.cfg_embeddings[0].float()] if guided else [h_t1.float()]
    images = torch.stack([torch.cat([h_t.float(), future]) for future in futures])
    return HeadContext(_key_values(stack, stack.text, text[None], "text"), _key_values(stack, stack.image, images, "image"))


def _key_values(stack: HeadStack, projection: Dense, tokens: Tensor, half: str) -> list[KeyValue]:
    blocks = sum(block.reads == half for block in stack.blocks)
    if not blocks:
        return []
    # (B, S, blocks * 2 * heads * d) to blocks times keys and values, each contiguous for the attention kernels.
    table = projection(tokens).unflatten(-1, (blocks, 2, stack.heads, -1)).permute(2, 3, 0, 4, 1, 5).contiguous()
    return [(pair[0], pair[1]) for pair in table.unbind(0)]


def denoising_tables(flow: FlowHead, buckets: Tensor, action_hz: float, extra: int) -> DenoisingTables:
    """Tables for integer denoising buckets (S, 1), shared by all tokens, or (S, T); ``extra`` tokens come before the actions of (S, n)."""
    dit, config = flow.DiT, flow.config
    device = flow.cfg_embeddings.device
    rows = buckets.shape[1]
    embedding = F.silu(dit.timestep_encoder(buckets.to(device)))
    modulations = torch.stack([block.norm1.linear(embedding) for block in dit.transformer_blocks], dim=1)
    scale, shift = modulations.chunk(2, dim=-1)
    out_shift, out_scale = dit.proj_out_1(embedding).chunk(2, dim=-1)
    count = rows - extra if rows > 1 else valid_steps(config, action_hz)
    time_code = torch.zeros(extra + count, config.hidden_dim, device=device)
    if config.use_action_positional_embeddings:
        time_s, _, _ = flow.time_grid(torch.tensor([action_hz], dtype=torch.float32, device=device))
        time_code[extra:] = physical_time_code(time_s[0, :count], config.hidden_dim)
    return DenoisingTables(scale + 1.0, shift + time_code, out_scale + 1.0, out_shift)


def tokens_before(stack: HeadStack, state: Tensor | None, state_mask: Tensor | None) -> Tensor | None:
    """Tokens (extra, dim) before the action tokens, None if the model has none; state and state_mask (1, state_dim)."""
    parts = stack.flow.prefix(1, stack.row, state, state_mask)
    return torch.cat(parts, dim=1)[0].float() if parts else None


def velocity(stack: HeadStack, x: Tensor, tables: DenoisingTables, context: HeadContext, prefix: Tensor | None) -> Tensor:
    """Velocity (G, N, n, A) of noisy chunks x (N, n, A) with the tables of one step.

    prefix: (extra, dim) tokens before the action tokens, or None.
    """
    w1, b1, w2, b2 = stack.encoder
    tokens = torch.addmm(b2, F.silu(torch.addmm(b1, x.flatten(0, 1).to(stack.dtype), w1)), w2).float().view(*x.shape[:2], -1)
    if prefix is not None:
        tokens = torch.cat([prefix.expand(len(tokens), -1, -1), tokens], dim=1)
    groups = context.image[0][0].shape[0] if context.image else 1
    hidden = tokens.expand(groups, *tokens.shape) if groups > 1 else tokens[None]
    text, image = iter(context.text), iter(context.image)
    for index, block in enumerate(stack.blocks):
        y = torch.addcmul(tables.shift[index], F.layer_norm(hidden, hidden.shape[-1:], eps=1e-5), tables.scale[index])
        if block.reads == "self":
            mixed = _mix_tokens(stack, block, y)
        else:
            mixed = _read_context(stack, block, y, next(text if block.reads == "text" else image))
        hidden = hidden + block.output(mixed)
        wide = F.gelu(block.up(F.layer_norm(hidden, hidden.shape[-1:], eps=1e-5)), approximate="tanh")
        hidden = hidden + block.down(wide)
    if prefix is not None:
        hidden = hidden[:, :, len(prefix) :]
    out_shift, out_scale = (table if len(table) == 1 else table[-x.shape[1] :] for table in (tables.out_shift, tables.out_scale))
    out = stack.output(torch.addcmul(out_shift, F.layer_norm(hidden, hidden.shape[-1:], eps=1e-6), out_scale))
    w1, b1, w2, b2 = stack.decoder
    flat = torch.addmm(b2, F.relu(torch.addmm(b1, out.flatten(0, 2), w1)), w2)
    return flat.float().view(groups, *x.shape)


def _mix_tokens(stack: HeadStack, block: HeadBlock, y: Tensor) -> Tensor:
    query, key, value = (heads_of(part, stack.heads) for part in block.query(y).flatten(0, 1).chunk(3, dim=-1))
    return attend(query, key, value).view_as(y)


def _read_context(stack: HeadStack, block: HeadBlock, y: Tensor, key_value: KeyValue) -> Tensor:
    key, value = key_value
    # Tokens of all chunks that share keys are queries of one attention: they do not see each other.
    query = heads_of(block.query(y).reshape(key.shape[0], -1, y.shape[-1]), stack.heads)
    return attend(query, key, value).view_as(y)
