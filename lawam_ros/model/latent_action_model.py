"""The latent action model: what happened between two images, as one small vector, and what an image becomes under such a vector."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from lawam_ros.model.attention import attention as attend
from lawam_ros.model.config import LamConfig
from lawam_ros.model.embodiment_linear import EmbodimentMlp
from lawam_ros.model.position_codes import inverse_dynamics_code, world_model_code

LOG_VARIANCE_LIMIT = 10.0


class _QueryCrossAttention(nn.Module):
    """Reads the context once into the query, which is normalised only after the attention."""

    def __init__(self, dim: int, heads: int) -> None:
        super().__init__()
        self.attn = nn.MultiheadAttention(dim, heads, batch_first=True)
        self.ff = nn.Sequential(nn.Linear(dim, dim), nn.GELU(), nn.Linear(dim, dim))
        self.norm1 = nn.LayerNorm(dim)
        self.norm2 = nn.LayerNorm(dim)

    def forward(self, query: Tensor, context: Tensor) -> Tensor:
        context = self.norm1(context)
        query = self.norm2(query + self.attn(query, context, context, need_weights=False)[0])
        return query + self.ff(query)


class _QFormer(nn.Module):
    """Pre-norm transformer over [visual tokens | queries]: visual tokens never look at the queries, the queries look at everything."""

    def __init__(self, config: LamConfig) -> None:
        super().__init__()
        self.queries = nn.Parameter(torch.randn(1, config.num_queries, config.dim))
        self.q_cross_attn = _QueryCrossAttention(config.dim, config.num_heads)
        width = config.ffn_expansion_factor * config.dim
        self.layers = nn.ModuleList(
            nn.TransformerEncoderLayer(
                config.dim, config.num_heads, width, config.dropout, activation="relu", batch_first=True, norm_first=True
            )
            for _ in range(config.enc_layers)
        )

    def forward(self, context: Tensor) -> Tensor:
        query = self.q_cross_attn(self.queries.expand(context.shape[0], -1, -1), context)
        x = torch.cat([context, query.to(context.dtype)], dim=1)
        for layer in self.layers:
            x = _masked_layer(layer, x, context.shape[1])
        return x[:, context.shape[1] :]


def _masked_layer(layer: nn.TransformerEncoderLayer, x: Tensor, visual: int) -> Tensor:
    """A pre-norm encoder layer in which the first ``visual`` tokens attend among themselves and the rest attends to all.

    Two unmasked attentions instead of a masked one: much faster, also backwards.
    """
    attention = layer.self_attn
    batch, tokens, dim = x.shape
    qkv = F.linear(layer.norm1(x), attention.in_proj_weight, attention.in_proj_bias)
    query, key, value = qkv.view(batch, tokens, 3, attention.num_heads, -1).permute(2, 0, 3, 1, 4).unbind(0)
    dropout = attention.dropout if layer.training else 0.0
    among = attend(query[:, :, :visual], key[:, :, :visual], value[:, :, :visual], dropout=dropout)
    to_all = attend(query[:, :, visual:], key, value, dropout=dropout)
    mixed = torch.cat([among, to_all], dim=2).transpose(1, 2).reshape(batch, tokens, dim)
    x = x + layer.dropout1(attention.out_proj(mixed))
    return x + layer.dropout2(layer.linear2(layer.dropout(F.relu(layer.linear1(layer.norm2(x))))))


class InverseDynamicsEncoder(nn.Module):
    """Features of two frames to one node per query."""

    def __init__(self, config: LamConfig, feature_dim: int) -> None:
        super().__init__()
        self.project_in = nn.Linear(feature_dim, config.dim)
        self.QFormer = _QFormer(config)
        self.out_proj = nn.Linear(config.dim, config.code_dim)
        self.code = nn.Buffer(inverse_dynamics_code(config.dim, 2, *config.grid_hw), persistent=False)

    def forward(self, features: Tensor) -> Tensor:
        """Features (B, 2, N, F) of the frames at t and T to nodes (B, queries, code_dim)."""
        x = self.project_in(features) + self.code
        return self.out_proj(self.QFormer(x.flatten(1, 2)))


class VaeBottleneck(nn.Module):
    """Gaussian bottleneck on the mean over the queries; always computed in float32."""

    def __init__(self, code_dim: int) -> None:
        super().__init__()
        self.pre_norm = nn.LayerNorm(code_dim)
        self.mu = nn.Linear(code_dim, code_dim)
        self.logvar = nn.Linear(code_dim, code_dim)

    def forward(self, nodes: Tensor) -> tuple[Tensor, Tensor]:
        """Nodes (B, queries, code_dim) to mean and clamped log variance, both float32 (B, 1, code_dim)."""
        mean, log_variance = self.unclamped(nodes)
        return mean, log_variance.clamp(-LOG_VARIANCE_LIMIT, LOG_VARIANCE_LIMIT)

    def unclamped(self, nodes: Tensor) -> tuple[Tensor, Tensor]:
        with torch.autocast(nodes.device.type, enabled=False):
            pooled = self.pre_norm(nodes.float().mean(dim=1, keepdim=True))
            return self.mu(pooled), self.logvar(pooled)

    @staticmethod
    def sample(mean: Tensor, log_variance: Tensor, noise: Tensor) -> Tensor:
        """z = mean + noise * exp(log_variance / 2)."""
        return mean + noise * torch.exp(0.5 * log_variance)

    @staticmethod
    def divergence(mean: Tensor, log_variance: Tensor) -> Tensor:
        """Kullback-Leibler divergence from the standard normal: summed over the code, mean over batch and queries."""
        return 0.5 * (mean.square() + log_variance.exp() - 1.0 - log_variance).sum(dim=-1).mean()


class _WorldModelBlock(nn.Module):
    """Transformer block whose norms are shifted, scaled and gated by the latent action; the identity when fresh."""

    def __init__(self, config: LamConfig) -> None:
        super().__init__()
        dim, width = config.dim, config.ffn_expansion_factor * config.dim
        self.norm1 = nn.LayerNorm(dim, eps=1e-6, elementwise_affine=False)
        self.norm2 = nn.LayerNorm(dim, eps=1e-6, elementwise_affine=False)
        self.attn = nn.MultiheadAttention(dim, config.num_heads, dropout=config.dropout, batch_first=True)
        self.ffn = nn.Sequential(
            nn.Linear(dim, width), nn.GELU(), nn.Dropout(config.dropout), nn.Linear(width, dim), nn.Dropout(config.dropout)
        )
        self.adaLN_modulation = nn.Sequential(nn.SiLU(), nn.Linear(dim, 6 * dim))
        modulation = self.adaLN_modulation[1]
        assert isinstance(modulation, nn.Linear)
        nn.init.zeros_(modulation.weight)
        nn.init.zeros_(modulation.bias)

    def forward(self, x: Tensor, condition: Tensor) -> Tensor:
        shift_a, scale_a, gate_a, shift_f, scale_f, gate_f = self.adaLN_modulation(condition)[:, None].chunk(6, dim=-1)
        x = x + gate_a * self._attend(self.norm1(x) * (1 + scale_a) + shift_a)
        return x + gate_f * self.ffn(self.norm2(x) * (1 + scale_f) + shift_f)

    def _attend(self, y: Tensor) -> Tensor:
        attention = self.attn
        batch, tokens, dim = y.shape
        qkv = F.linear(y, attention.in_proj_weight, attention.in_proj_bias)
        query, key, value = qkv.view(batch, tokens, 3, attention.num_heads, -1).permute(2, 0, 3, 1, 4).unbind(0)
        dropout = attention.dropout if self.training else 0.0
        mixed = attend(query, key, value, dropout=dropout)
        return attention.out_proj(mixed.transpose(1, 2).reshape(batch, tokens, dim))


class WorldModelDecoder(nn.Module):
    """LaWM: features now and a latent action to the features at the end of the action, the visual subgoal."""

    def __init__(self, config: LamConfig, feature_dim: int) -> None:
        super().__init__()
        self.project_input = nn.Linear(feature_dim, config.dim)
        self.action_in_proj = nn.Linear(config.code_dim, config.dim)
        self.dec_layers = nn.ModuleList(_WorldModelBlock(config) for _ in range(config.dec_layers))
        self.project_output = nn.Linear(config.dim, feature_dim)
        self.last_ln = nn.LayerNorm(feature_dim)
        self.code = nn.Buffer(world_model_code(config.dim, *config.grid_hw), persistent=False)

    def forward(self, features: Tensor, latent_action: Tensor) -> Tensor:
        """Features (B, N, F) and latent action (B, 1, code_dim) or (B, code_dim) to predicted features (B, N, F)."""
        condition = self.action_in_proj(latent_action.flatten(1))
        x = self.project_input(features) + self.code
        for block in self.dec_layers:
            x = block(x, condition)
        return self.last_ln(self.project_output(x))


class StatePredictor(nn.Module):
    """Stage-1 auxiliary head: normalised change of the robot state from the latent action and the state at the start."""

    def __init__(self, config: LamConfig) -> None:
        super().__init__()
        embodiments, dim, state = config.num_embodiments, config.dim, config.max_state_dim
        self.z_encoder = nn.Linear(config.code_dim, dim)
        self.state_encoder = EmbodimentMlp(embodiments, state, dim, dim)
        self.state_decoder = EmbodimentMlp(embodiments, 2 * dim, dim, state)

    def forward(self, latent_action: Tensor, state: Tensor, embodiment_id: Tensor) -> Tensor:
        """Latent action (B, 1, code_dim), state (B, max_state_dim), ids (B,) to the change in -1..1, (B, max_state_dim)."""
        code = self.z_encoder(latent_action.mean(dim=1, keepdim=True))
        start = self.state_encoder(state[:, None].to(code.dtype), embodiment_id)
        return torch.tanh(self.state_decoder(torch.cat([code, start], dim=-1), embodiment_id))[:, 0]
