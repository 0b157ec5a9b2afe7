"""The action expert: velocity of the action chunk under conditional flow matching."""

import math
from dataclasses import dataclass, replace

import torch
from torch import Tensor, nn

from lawam_ros.contract.errors import UserMistake
from lawam_ros.model.config import FlowConfig
from lawam_ros.model.dit import AlternateVLDiT, KeyValue, tile
from lawam_ros.model.embodiment_linear import EmbodimentEncoder, EmbodimentMlp
from lawam_ros.model.position_codes import physical_time_code


@dataclass(frozen=True)
class FlowContext:
    """What the action tokens read, constant over denoising: keys and values per block; text_mask (B, L), None if nothing is padded."""

    key_values: list[KeyValue | None]
    text_mask: Tensor | None
    batch: int

    def tiled(self, times: int) -> "FlowContext":
        """Block-wise repetition: the whole batch, then the whole batch again."""
        if times == 1:
            return self
        mask = None if self.text_mask is None else self.text_mask.repeat(times, 1)
        return replace(self, key_values=tile(self.key_values, times), text_mask=mask, batch=self.batch * times)


class _LanguageProjection(nn.Module):
    def __init__(self, vlm_dim: int, vision_dim: int) -> None:
        super().__init__()
        self.net = nn.Sequential(nn.Linear(vlm_dim, vision_dim), nn.LayerNorm(vision_dim))

    def forward(self, hidden: Tensor) -> Tensor:
        return self.net(hidden)


class FlowHead(nn.Module):
    """Conditional flow matching over (T, action_dim) chunks; T is ``action_horizon``, of which the first horizon_s * hz steps are valid."""

    def __init__(self, config: FlowConfig) -> None:
        super().__init__()
        self.config = config
        dim, embodiments = config.hidden_dim, config.num_embodiments
        self.cfg_embeddings = nn.Parameter(torch.randn(1, config.num_vision_tokens, config.vision_dim))
        self.enc_vlm = _LanguageProjection(config.vlm_dim, config.vision_dim)
        self.action_encoder = EmbodimentEncoder(embodiments, config.action_dim, dim)
        self.action_decoder = EmbodimentMlp(embodiments, dim, dim, config.action_dim)
        if config.use_state:
            self.enc_state = EmbodimentEncoder(embodiments, config.state_dim, dim)
        if config.num_target_vision_tokens > 0:
            self.future_tokens = nn.Embedding(config.num_target_vision_tokens, dim)
            nn.init.normal_(self.future_tokens.weight, std=0.02)
        self.DiT = AlternateVLDiT(config)

    @property
    def dtype(self) -> torch.dtype:
        return self.cfg_embeddings.dtype

    @property
    def tokens_before_actions(self) -> int:
        """Number of tokens that :meth:`prefix` puts before the action tokens."""
        return int(self.config.use_state) + max(0, self.config.num_target_vision_tokens)

    def time_grid(self, action_hz: Tensor, length: int | None = None) -> tuple[Tensor, Tensor, Tensor]:
        """Times i / hz in s (B, T), validity (B, T) and number of valid steps (B,) for frequencies (B,).

        valid steps = floor(horizon_s * hz) in float32, at most T, unless the configuration fixes their number.
        """
        return time_grid(action_hz, self.config.horizon_s, length or self.config.action_horizon, self.config.valid_steps)

    def context(
        self, h_t: Tensor, h_t1: Tensor, h_vlm: Tensor, attention_mask: Tensor | None, drop_future: Tensor | None = None
    ) -> FlowContext:
        """Context of features (B, N, F) now and predicted, and language states (B, L, D).

        attention_mask: (B, L) boolean, None when no prompt is padded. drop_future: (B,) boolean, samples whose predicted features are
        replaced by the learned unconditional embedding (classifier-free guidance).
        """
        h_t, h_t1, h_vlm = h_t.to(self.dtype), h_t1.to(self.dtype), h_vlm.to(self.dtype)
        if self.training:
            # Keeps the embedding in the graph, so that distributed training sees no unused parameter.
            h_t1 = h_t1 + 0.0 * self.cfg_embeddings
        if drop_future is not None:
            h_t1 = torch.where(drop_future[:, None, None], self.cfg_embeddings, h_t1)
        key_values = self.DiT.context_key_values(torch.cat([h_t, h_t1], dim=1), self.enc_vlm(h_vlm))
        return FlowContext(key_values, attention_mask, h_t.shape[0])

    def unconditional_context(self, h_t: Tensor, h_vlm: Tensor, attention_mask: Tensor | None) -> FlowContext:
        """Context without the predicted features."""
        return self.context(h_t, self.cfg_embeddings.expand(h_t.shape[0], -1, -1), h_vlm, attention_mask)

    def prefix(self, batch: int, embodiment_id: Tensor, state: Tensor | None, state_mask: Tensor | None) -> list[Tensor]:
        """Tokens before the action tokens: the state if the model uses it, then learned extra tokens if it has any.

        state: (B, state_dim) normalised, None means zeros; state_mask (B, state_dim) marks the dimensions that exist.
        """
        tokens = []
        if self.config.use_state:
            if state is None:
                state = self.cfg_embeddings.new_zeros(batch, self.config.state_dim)
            state = state.to(self.dtype) * (1.0 if state_mask is None else state_mask.to(self.dtype))
            tokens.append(self.enc_state(state[:, None], embodiment_id))
        if self.config.num_target_vision_tokens > 0:
            tokens.append(self.future_tokens.weight.expand(batch, -1, -1))
        return tokens

    def chunk_inputs(
        self, length: int, action_hz: Tensor, embodiment_id: Tensor, state: Tensor | None = None, state_mask: Tensor | None = None
    ) -> "ChunkInputs":
        """What does not change over denoising for chunks of ``length`` rows; arguments as in :meth:`velocity`."""
        time_s, valid, _ = self.time_grid(action_hz.to(self.cfg_embeddings.device), length)
        prefix = self.prefix(len(time_s), embodiment_id, state, state_mask)
        extra = sum(part.shape[1] for part in prefix)
        time_code = torch.zeros(len(time_s), length, self.config.hidden_dim, device=time_s.device, dtype=self.dtype)
        if self.config.use_action_positional_embeddings:
            time_code = (physical_time_code(time_s, self.config.hidden_dim) * valid[..., None]).to(self.dtype)
        return ChunkInputs(
            embodiment_id=embodiment_id,
            valid=valid,
            prefix=torch.cat(prefix, dim=1) if prefix else None,
            time_code=nn.functional.pad(time_code, (0, 0, extra, 0)),
            token_mask=nn.functional.pad(valid, (extra, 0), value=True),
        )

    def velocity(
        self,
        x: Tensor,
        tau_bucket: Tensor,
        context: FlowContext,
        action_hz: Tensor,
        embodiment_id: Tensor,
        state: Tensor | None = None,
        state_mask: Tensor | None = None,
    ) -> Tensor:
        """Velocity (B, T, action_dim) of the noisy chunk x (B, T, action_dim).

        tau_bucket: integer denoising bucket per sample (B,) or per token (B, T). A context of fewer samples is repeated block-wise.
        action_hz, embodiment_id: (B,). state, state_mask: (B, state_dim) normalised and which of it exists; read if the model uses states.
        Rows beyond the valid steps carry no meaning.
        """
        inputs = self.chunk_inputs(x.shape[1], action_hz, embodiment_id, state, state_mask)
        return self.velocity_of(x, tau_bucket, context.tiled(len(x) // context.batch), inputs)

    def velocity_of(self, x: Tensor, tau_bucket: Tensor, context: FlowContext, inputs: "ChunkInputs") -> Tensor:
        """Velocity as :meth:`velocity`, with the constant inputs prepared."""
        tokens = self.action_encoder(x.to(self.dtype), inputs.embodiment_id) * inputs.valid[..., None]
        extra = 0
        if inputs.prefix is not None:
            extra = inputs.prefix.shape[1]
            tokens = torch.cat([inputs.prefix.to(tokens.dtype), tokens], dim=1)
        if tau_bucket.ndim == 2 and extra:
            # Prefix tokens take the rounded mean bucket of the valid tokens.
            mean = (tau_bucket * inputs.valid).sum(dim=1) / inputs.valid.sum(dim=1).clamp(min=1)
            tau_bucket = torch.cat([mean.round().to(tau_bucket.dtype)[:, None].expand(-1, extra), tau_bucket], dim=1)
        output = self.DiT(tokens, tau_bucket, inputs.time_code, context.key_values, context.text_mask, inputs.token_mask)
        return self.action_decoder(output[:, extra:], inputs.embodiment_id)


@dataclass(frozen=True)
class ChunkInputs:
    """Inputs of the action expert that stay the same over denoising.

    valid (B, T); prefix (B, P, dim) or None; time_code (B, P + T, dim); token_mask (B, P + T).
    """

    embodiment_id: Tensor
    valid: Tensor
    prefix: Tensor | None
    time_code: Tensor
    token_mask: Tensor


def valid_steps(config: FlowConfig, action_hz: float) -> int:
    """Number of actions of one chunk: floor(horizon_s * action_hz) in double precision, as the official runner counts them.

    Raises UserMistake for a rate that gives none or more than a chunk has rows.
    """
    count = math.floor(config.horizon_s * action_hz) if math.isfinite(action_hz) and action_hz > 0 else 0
    if count and config.valid_steps is not None:
        count = config.valid_steps
    if not 1 <= count <= config.action_horizon:
        raise UserMistake(
            f"expected a rate that gives 1 to {config.action_horizon} actions within the model's horizon of {config.horizon_s} s, "
            f"got {action_hz:g} Hz ({count} actions); use the rate of the training"
        )
    return count


def time_grid(action_hz: Tensor, horizon_s: float, length: int, valid_steps: int | None = None) -> tuple[Tensor, Tensor, Tensor]:
    """Times (B, T) in s, validity (B, T) and valid steps (B,) of frequencies (B,); the floor is taken in float32.

    valid_steps: a number that holds for every frequency instead.
    """
    hz = action_hz.to(torch.float32)
    index = torch.arange(length, device=hz.device)
    steps = torch.floor(hz * horizon_s) if valid_steps is None else torch.full_like(hz, valid_steps)
    count = steps.long().clamp(max=length)
    return index.to(torch.float32)[None] / hz[:, None], index[None] < count[:, None], count
