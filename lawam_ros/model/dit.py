"""AlternateVLDiT: a transformer over action tokens that reads language and image tokens in turn."""

import torch.nn.functional as F
from torch import Tensor, nn

from lawam_ros.model.attention import attention
from lawam_ros.model.config import FlowConfig
from lawam_ros.model.position_codes import denoising_time_code

KeyValue = tuple[Tensor, Tensor]
TIME_CHANNELS = 256


class _TimestepMlp(nn.Module):
    def __init__(self, dim: int) -> None:
        super().__init__()
        self.linear_1 = nn.Linear(TIME_CHANNELS, dim)
        self.linear_2 = nn.Linear(dim, dim)

    def forward(self, code: Tensor) -> Tensor:
        return self.linear_2(F.silu(self.linear_1(code)))


class _TimestepEncoder(nn.Module):
    def __init__(self, dim: int) -> None:
        super().__init__()
        self.timestep_embedder = _TimestepMlp(dim)

    def forward(self, bucket: Tensor) -> Tensor:
        """Integer buckets (B,) or (B, T) to embeddings (B, 1, dim) or (B, T, dim)."""
        code = denoising_time_code(bucket, TIME_CHANNELS).to(self.timestep_embedder.linear_1.weight.dtype)
        embedding = self.timestep_embedder(code)
        return embedding if bucket.ndim == 2 else embedding[:, None]


class _ScaleShiftNorm(nn.Module):
    """LayerNorm without affine, then scale and shift (in this order) from the timestep embedding."""

    def __init__(self, dim: int) -> None:
        super().__init__()
        self.linear = nn.Linear(dim, 2 * dim)
        self.norm = nn.LayerNorm(dim, eps=1e-5, elementwise_affine=False)

    def forward(self, x: Tensor, embedding: Tensor) -> Tensor:
        scale, shift = self.linear(F.silu(embedding)).chunk(2, dim=-1)
        return self.norm(x) * (1 + scale) + shift


class _Attention(nn.Module):
    def __init__(self, dim: int, heads: int, context_dim: int, dropout: float) -> None:
        super().__init__()
        self.heads = heads
        self.to_q = nn.Linear(dim, dim)
        self.to_k = nn.Linear(context_dim, dim)
        self.to_v = nn.Linear(context_dim, dim)
        self.to_out = nn.ModuleList([nn.Linear(dim, dim), nn.Dropout(dropout)])

    def key_value(self, context: Tensor) -> KeyValue:
        """Keys and values (B, heads, S, head_dim) of context (B, S, context_dim)."""
        return self._split(self.to_k(context)), self._split(self.to_v(context))

    def forward(self, x: Tensor, key_value: KeyValue, mask: Tensor | None) -> Tensor:
        """x (B, T, dim); mask boolean, broadcastable to (B, heads, T, S), True = attend."""
        mixed = attention(self._split(self.to_q(x)), *key_value, mask)
        output, dropout = self.to_out
        return dropout(output(mixed.transpose(1, 2).flatten(2)))

    def _split(self, x: Tensor) -> Tensor:
        return x.unflatten(-1, (self.heads, -1)).transpose(1, 2)


class _GeluProjection(nn.Module):
    def __init__(self, dim: int, width: int) -> None:
        super().__init__()
        self.proj = nn.Linear(dim, width)

    def forward(self, x: Tensor) -> Tensor:
        return F.gelu(self.proj(x), approximate="tanh")


class _FeedForward(nn.Module):
    def __init__(self, dim: int, dropout: float) -> None:
        super().__init__()
        self.net = nn.ModuleList([_GeluProjection(dim, 4 * dim), nn.Dropout(dropout), nn.Linear(4 * dim, dim), nn.Dropout(dropout)])

    def forward(self, x: Tensor) -> Tensor:
        for layer in self.net:
            x = layer(x)
        return x


class DitBlock(nn.Module):
    """One attention (over the context or over the tokens themselves) and a feed-forward part that is not modulated."""

    def __init__(self, dim: int, heads: int, context_dim: int | None, dropout: float) -> None:
        super().__init__()
        self.reads_context = context_dim is not None
        self.norm1 = _ScaleShiftNorm(dim)
        self.attn1 = _Attention(dim, heads, context_dim or dim, dropout)
        self.norm3 = nn.LayerNorm(dim, eps=1e-5, elementwise_affine=False)
        self.ff = _FeedForward(dim, dropout)
        self.final_dropout = nn.Dropout(dropout)

    def forward(self, x: Tensor, embedding: Tensor, time_code: Tensor, key_value: KeyValue | None, mask: Tensor | None) -> Tensor:
        # The physical-time code enters after the norm of every block; the tokens themselves carry no time.
        y = self.norm1(x, embedding) + time_code
        x = x + self.final_dropout(self.attn1(y, key_value if key_value is not None else self.attn1.key_value(y), mask))
        return x + self.ff(self.norm3(x))


class AlternateVLDiT(nn.Module):
    """Even blocks read the context: language tokens when index % (2 * n) == 0, image tokens otherwise; odd blocks mix the action tokens."""

    def __init__(self, config: FlowConfig) -> None:
        super().__init__()
        dim = config.hidden_dim
        self.text_period = 2 * config.attend_text_every_n_blocks
        self.timestep_encoder = _TimestepEncoder(dim)
        self.transformer_blocks = nn.ModuleList(
            DitBlock(dim, config.attention_heads, config.vision_dim if index % 2 == 0 else None, config.dropout)
            for index in range(config.num_layers)
        )
        self.norm_out = nn.LayerNorm(dim, eps=1e-6, elementwise_affine=False)
        self.proj_out_1 = nn.Linear(dim, 2 * dim)
        self.proj_out_2 = nn.Linear(dim, dim)

    def context_key_values(self, images: Tensor, text: Tensor) -> list[KeyValue | None]:
        """Keys and values of every block that reads images (B, 2N, F) or text (B, L, F); None for the others. Constant over denoising."""
        return [
            block.attn1.key_value(text if index % self.text_period == 0 else images) if index % 2 == 0 else None
            for index, block in enumerate(self.transformer_blocks)
        ]

    def forward(
        self,
        x: Tensor,
        bucket: Tensor,
        time_code: Tensor,
        key_values: list[KeyValue | None],
        text_mask: Tensor | None,
        token_mask: Tensor | None,
    ) -> Tensor:
        """Tokens (B, T, dim) at denoising bucket (B,) or (B, T) to output tokens (B, T, dim).

        time_code (B, T, dim); text_mask (B, L) and token_mask (B, T) boolean, None when everything is valid.
        """
        embedding = self.timestep_encoder(bucket)
        masks = {"text": _key_mask(text_mask), "image": None, "self": _key_mask(token_mask)}
        for index, block in enumerate(self.transformer_blocks):
            reads = "self" if index % 2 else "text" if index % self.text_period == 0 else "image"
            x = block(x, embedding, time_code, key_values[index], masks[reads])
        # Here the shift comes first, unlike inside the blocks.
        shift, scale = self.proj_out_1(F.silu(embedding)).chunk(2, dim=-1)
        return self.proj_out_2(self.norm_out(x) * (1 + scale) + shift)


def _key_mask(mask: Tensor | None) -> Tensor | None:
    return None if mask is None else mask[:, None, None, :]


def tile(key_values: list[KeyValue | None], times: int) -> list[KeyValue | None]:
    """The whole batch again ``times`` times, one after the other."""
    if times == 1:
        return key_values
    return [None if pair is None else (pair[0].repeat(times, 1, 1, 1), pair[1].repeat(times, 1, 1, 1)) for pair in key_values]
