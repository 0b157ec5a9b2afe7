"""The language adapter: Qwen3-VL cut to its first layers, fed with embeddings and plain positions."""

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

from lawam_ros.model.attention import LANGUAGE_ATTENTION
from lawam_ros.model.image_preparation import image_patches
from lawam_ros.model.prompt import PromptBatch
from lawam_ros.model.transformers_parts import Qwen3VLConfig, Qwen3VLModel
from lawam_ros.model.vision_tower import tower_tables, vision_features


class QwenAdapter(nn.Module):
    """Qwen3-VL without ``lm_head`` and without the language layers beyond the first ``language_layers``.

    Positions are 0..L-1 on all three rotary axes whatever the images: the released weights were trained with embeddings as input, where
    the three-dimensional positions cannot be built.
    """

    def __init__(self, base: Mapping[str, Any], language_layers: int, image_size: int = 256) -> None:
        super().__init__()
        content = {key: value for key, value in base.items() if key not in ("architectures", "dtype", "transformers_version")}
        content["text_config"] = dict(content["text_config"]) | {"num_hidden_layers": language_layers}
        config = Qwen3VLConfig(**content)
        config.text_config.use_cache = False
        config._attn_implementation = LANGUAGE_ATTENTION
        self.model = Qwen3VLModel(config)
        vision = config.vision_config
        self.patch, self.merge, self.temporal = vision.patch_size, vision.spatial_merge_size, vision.temporal_patch_size
        with torch.device("cpu"):
            # Rotary frequencies are no weights: they must exist although the weights may still be on the meta device.
            self.model.language_model.rotary_emb = type(self.model.language_model.rotary_emb)(config=config.text_config)
            tables = tower_tables(
                image_size // self.patch, self.merge, int(vision.num_position_embeddings**0.5), vision.hidden_size // vision.num_heads
            )
        self.model.visual.rotary_pos_emb = nn.Identity()
        for name, table in tables.items():
            self.register_buffer(name, table, persistent=False)

    def embed_images(self, frames: Tensor) -> tuple[Tensor, list[Tensor]]:
        """Frames uint8 or float 0..255 (N, 3, S, S) to language tokens (N, S*S/1024, D) and the deepstack features, same shape each."""
        patches = image_patches(frames, self.patch, self.merge, self.temporal)
        return vision_features(self.model.visual, patches, self.corner, self.corner_weight, self.cosine, self.sine)

    def merge_inputs(self, prompt: PromptBatch, images: Tensor, act_query: Tensor, flow_query: Tensor) -> Tensor:
        """Token embeddings (B, L, D) with image tokens and query placeholders replaced. images (N, tokens, D) in prompt order."""
        embeds = self.model.language_model.embed_tokens(prompt.input_ids)
        batch = embeds.shape[0]
        embeds = embeds.masked_scatter(prompt.image_mask[..., None], images.to(embeds.dtype))
        embeds = embeds.masked_scatter(prompt.act_mask[..., None], act_query.to(embeds.dtype).expand(batch, -1, -1))
        return embeds.masked_scatter(prompt.flow_mask[..., None], flow_query.to(embeds.dtype).expand(batch, -1, -1))

    def forward(self, prompt: PromptBatch, frames: Tensor, act_query: Tensor, flow_query: Tensor) -> Tensor:
        """Final normalised hidden states (B, L, D) of all positions.

        frames: uint8 (N, 3, S, S), the images of all rows one after the other, primary before wrist within a row.
        """
        images, deepstack = self.embed_images(frames)
        embeds = self.merge_inputs(prompt, images, act_query, flow_query)
        return self._language(embeds, prompt, [feature.flatten(0, 1) for feature in deepstack])

    def _language(self, embeds: Tensor, prompt: PromptBatch, deepstack: list[Tensor]) -> Tensor:
        batch, length, _ = embeds.shape
        positions = torch.arange(length, device=embeds.device).expand(3, batch, length)
        return self.model.language_model(
            inputs_embeds=embeds,
            attention_mask=prompt.attention_mask.long() if prompt.padded else None,
            position_ids=positions,
            visual_pos_masks=prompt.image_mask,
            deepstack_visual_embeds=deepstack,
            use_cache=False,
        ).last_hidden_state


class QueryHead(nn.Module):
    """VLMToLAMQFormer: hidden states at the action placeholders to one latent action. Eight attention heads, one layer."""

    def __init__(self, vlm_dim: int, code_dim: int, num_queries: int = 1, heads: int = 8) -> None:
        super().__init__()
        self.query = nn.Parameter(0.02 * torch.randn(1, num_queries, code_dim))
        attention = nn.MultiheadAttention(code_dim, heads, kdim=vlm_dim, vdim=vlm_dim, batch_first=True)
        self.cross_attns = nn.ModuleList([attention])
        self.norm_qs = nn.ModuleList([nn.LayerNorm(code_dim)])
        self.norm_kvs = nn.ModuleList([nn.LayerNorm(vlm_dim)])
        feed_forward = [
            nn.LayerNorm(code_dim),
            nn.Linear(code_dim, 4 * code_dim),
            nn.GELU(),
            nn.Dropout(0.0),
            nn.Linear(4 * code_dim, code_dim),
        ]
        self.ffns = nn.ModuleList([nn.Sequential(*feed_forward)])
        self.final_norm = nn.LayerNorm(code_dim)

    def forward(self, hidden: Tensor) -> Tensor:
        """Hidden states (B, action queries, vlm_dim) to the latent action (B, 1, code_dim)."""
        query = self.query.to(hidden.dtype).expand(hidden.shape[0], -1, -1)
        for attention, norm_q, norm_kv, ffn in zip(self.cross_attns, self.norm_qs, self.norm_kvs, self.ffns, strict=True):
            context = norm_kv(hidden)
            query = query + attention(norm_q(query), context, context, need_weights=False)[0]
            query = query + ffn(query)
        return self.final_norm(query)


def rows_at(hidden: Tensor, mask: Tensor, count: int) -> Tensor:
    """Rows of hidden (B, L, D) where mask (B, L) is set, ``count`` per row: (B, count, D)."""
    index = torch.topk(mask.to(torch.uint8), count, dim=1, sorted=False).indices.sort(dim=1).values
    return hidden.gather(1, index[..., None].expand(-1, -1, hidden.shape[-1]))
