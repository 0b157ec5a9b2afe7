"""What a LaWAM is made of: one frozen record that every module is built from, whatever its size."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from lawam_ros.contract.errors import UserMistake
from lawam_ros.contract.paths import config_dir
from lawam_ros.contract.yaml_fields import load_yaml

ENCODERS = ("dinov3_vit", "efficientnet_lite0")
# Read by training, not by the modules: kept in ``ModelConfig.training`` so that a checkpoint repeats them unchanged.
TRAINING_KEYS = frozenset(
    {
        "lam_ckpt_path",
        "lam_yaml_path",
        "perceptual_weight",
        "flow_only_mode",
        "enable_flow_h_t1_scheduled_sampling",
        "flow_h_t1_pred_prob_start",
        "flow_h_t1_pred_prob_end",
        "flow_h_t1_pred_ramp_steps",
        "detach_future_feature",
        "future_prediction",
        "enable_loss_distill",
        "latent_loss_type",
        "lam_encoder_distill_weight",
        "repeated_diffusion_steps",
        "future_action_window_size",
        "past_action_window_size",
        "trained_delay_steps",
        "noise_scale",
    }
)
BEFORE_WRIST = "Your task is {instruction}.\n\nFrom main-view observations, infer the robot arm's motion."
AFTER_WRIST = "Then use observations and the inferred motion to produce the robot policy actions."


@dataclass(frozen=True)
class LamConfig:
    """Latent action model: inverse-dynamics encoder, bottleneck, latent world model, state predictor."""

    dim: int
    enc_layers: int
    dec_layers: int
    num_heads: int
    ffn_expansion_factor: int
    code_dim: int
    num_embodiments: int
    max_state_dim: int
    num_queries: int = 1
    dropout: float = 0.0
    grid_hw: tuple[int, int] = (16, 16)


@dataclass(frozen=True)
class FlowConfig:
    """Flow-matching action expert. ``dropout`` is active in training only; the official class default is 0.2.

    valid_steps: number of actions of a chunk whatever the rate (LeRobot's format); None: floor(horizon_s * rate).
    """

    action_dim: int
    state_dim: int
    use_state: bool
    vlm_dim: int
    vision_dim: int
    num_vision_tokens: int
    hidden_dim: int
    attention_heads: int
    num_layers: int
    action_horizon: int
    horizon_s: float
    num_embodiments: int
    num_target_vision_tokens: int = -1
    attend_text_every_n_blocks: int = 2
    cfg_drop_prob: float = 0.0
    guidance_scale: float = 1.0
    num_inference_steps: int = 10
    num_timestep_buckets: int = 1000
    noise_beta_alpha: float = 1.5
    noise_beta_beta: float = 1.0
    noise_s: float = 0.999
    token_independent_noise: bool = False
    use_action_positional_embeddings: bool = True
    dropout: float = 0.2
    valid_steps: int | None = None


@dataclass(frozen=True)
class ModelConfig:
    """A whole LaWAM.

    base_vlm: Qwen3-VL ``config.json`` as a mapping; ``language_layers`` of its language layers are kept.
    vision_encoder: ``config.json`` of the frozen encoder; ``model_type`` is one of ENCODERS.
    tokenizer: folder with the tokenizer files, or a hub name.
    squashed_images: images are resized in float without a crop (LeRobot's format), not prepared as the official code does.
    training: keys of the official ``action_model`` section that only training reads.
    """

    base_vlm: Mapping[str, Any]
    language_layers: int
    vision_encoder: Mapping[str, Any]
    lam: LamConfig
    flow: FlowConfig
    action_queries: int
    flow_queries: int
    placeholder_token: str = "<ACT_PH>"
    before_wrist: str = BEFORE_WRIST
    after_wrist: str = AFTER_WRIST
    centre_crop_90: bool = False
    squashed_images: bool = False
    image_size: int = 256
    tokenizer: str = ""
    training: Mapping[str, Any] = field(default_factory=dict)

    @property
    def vlm_dim(self) -> int:
        return int(self.base_vlm["text_config"]["hidden_size"])

    @property
    def feature_dim(self) -> int:
        """Width F of the vision features."""
        return feature_dim_of(self.vision_encoder)


def feature_dim_of(vision_encoder: Mapping[str, Any]) -> int:
    """Width of the features a vision encoder configuration yields; UserMistake for an unknown encoder."""
    kind = vision_encoder.get("model_type")
    if kind == "dinov3_vit":
        return int(vision_encoder["hidden_size"])
    if kind == "efficientnet_lite0":
        return 112
    raise UserMistake(f"vision encoder: expected model_type {' or '.join(ENCODERS)}, got {kind!r}")


def load_model_config(name_or_path: str | Path) -> ModelConfig:
    """Model YAML by name (``tiny``, ``lawam_2b``: files in config/models) or by path.

    ``extends`` names another model file, whose keys hold where this one says nothing, at any depth. Sections: ``base_vlm`` (Qwen3-VL
    config), ``tokenizer`` (folder relative to the shipped assets, absolute, or hub name), ``language_layers``, ``vision_encoder``, ``lam``
    and ``action_model`` (both with the official key names).
    """
    path = Path(name_or_path)
    if path.suffix not in (".yaml", ".yml"):
        path = config_dir() / "models" / f"{name_or_path}.yaml"
    content = _extended(load_yaml(path, "model"), path.name)
    known = {"base_vlm", "tokenizer", "language_layers", "vision_encoder", "lam", "action_model", "centre_crop_90"}
    unknown = sorted(set(content) - known)
    missing = sorted(known - {"centre_crop_90"} - set(content))
    if unknown or missing:
        raise UserMistake(f"{path.name}: unknown key(s) {unknown}, missing key(s) {missing}; expected {sorted(known)}")
    return assemble(
        base_vlm=content["base_vlm"],
        language_layers=content["language_layers"],
        vision_encoder=content["vision_encoder"],
        lam=content["lam"],
        action_model=content["action_model"],
        tokenizer=str(content["tokenizer"]),
        centre_crop_90=bool(content.get("centre_crop_90", False)),
        where=path.name,
    )


def _extended(content: dict[str, Any], where: str) -> dict[str, Any]:
    if "extends" not in content:
        return content
    own = {key: value for key, value in content.items() if key != "extends"}
    base = load_yaml(config_dir() / "models" / f"{content['extends']}.yaml", "model")
    if "extends" in base:
        raise UserMistake(f"{where}: expected 'extends' to name a model file that extends no other, got {content['extends']}")
    return _merged(base, own)


def _merged(base: dict[str, Any], own: dict[str, Any]) -> dict[str, Any]:
    both = {key: _merged(base[key], value) for key, value in own.items() if isinstance(value, dict) and isinstance(base.get(key), dict)}
    return base | own | both


def assemble(
    base_vlm: Mapping[str, Any],
    language_layers: int,
    vision_encoder: Mapping[str, Any],
    lam: Mapping[str, Any],
    action_model: Mapping[str, Any],
    tokenizer: str,
    centre_crop_90: bool,
    where: str,
    prompt: Mapping[str, str] | None = None,
) -> ModelConfig:
    """Typed configuration from the official mappings; UserMistake names ``where`` and the offending key."""
    try:
        feature_dim = feature_dim_of(vision_encoder)
        lam_config = _lam_config(lam)
        config = ModelConfig(
            base_vlm=base_vlm,
            language_layers=int(language_layers),
            vision_encoder=vision_encoder,
            lam=lam_config,
            flow=_flow_config(action_model, int(base_vlm["text_config"]["hidden_size"]), feature_dim, lam_config.grid_hw),
            action_queries=int(action_model["num_action_queries"]),
            flow_queries=int(action_model["flow_action_num_queries"]),
            placeholder_token=str(action_model.get("latent_action_placeholder_token", "<ACT_PH>")),
            before_wrist=(prompt or {}).get("before_wrist", BEFORE_WRIST),
            after_wrist=(prompt or {}).get("after_wrist", AFTER_WRIST),
            centre_crop_90=centre_crop_90,
            tokenizer=tokenizer,
            training={key: action_model[key] for key in sorted(TRAINING_KEYS & set(action_model))},
        )
    except KeyError as error:
        raise UserMistake(f"{where}: key {error} is missing") from error
    except (TypeError, ValueError) as error:
        raise UserMistake(f"{where}: {error}") from error
    _check(config, where)
    return config


def _lam_config(lam: Mapping[str, Any]) -> LamConfig:
    height, width = lam.get("image_hw", (256, 256))
    patch = int(lam.get("patch_size", 16))
    expected = {"vq_type": "vae", "norm_latents": True, "norm_latents_type": "ln", "enc_add_state": False, "enc_modal_mask": True}
    expected |= {"multi_input": False, "latent_layer_to_use": -2, "num_frames": 2}
    for key, value in expected.items():
        if lam.get(key, value) != value:
            raise ValueError(f"lam.{key}: only {value!r} is supported, got {lam[key]!r}")
    return LamConfig(
        dim=int(lam["dim"]),
        enc_layers=int(lam["enc_layers"]),
        dec_layers=int(lam["dec_layers"]),
        num_heads=int(lam["num_heads"]),
        ffn_expansion_factor=int(lam["ffn_expansion_factor"]),
        code_dim=int(lam["code_dim"]),
        num_embodiments=int(lam["num_embodiments"]),
        max_state_dim=int(lam["max_state_dim"]),
        num_queries=int(lam.get("num_queries", 1)),
        dropout=float(lam.get("dropout", 0.0)),
        grid_hw=(height // patch, width // patch),
    )


def _flow_config(action_model: Mapping[str, Any], vlm_dim: int, vision_dim: int, grid_hw: tuple[int, int]) -> FlowConfig:
    flow = dict(action_model["flow_cfg"])
    known = set(FlowConfig.__dataclass_fields__) | {"horizon_sec", "cfg_guidance_scale", "interleave_self_attention", "use_alternate_vldit"}
    unknown = sorted(set(flow) - known)
    if unknown:
        raise ValueError(f"unknown key(s) {', '.join(unknown)} in flow_cfg")
    for key in ("interleave_self_attention", "use_alternate_vldit"):
        if not flow.pop(key, True):
            raise ValueError(f"flow_cfg.{key}: only true is supported")
    # The widths follow from the language and vision models; a value in the file must agree.
    for key, width in (("vlm_dim", vlm_dim), ("vision_dim", vision_dim), ("num_vision_tokens", grid_hw[0] * grid_hw[1])):
        if key == "vlm_dim" and int(flow.get(key, width)) != width:
            raise ValueError(f"flow_cfg.{key}: expected {width} as in the base model, got {flow[key]}")
        flow[key] = width
    flow["horizon_s"] = float(flow.pop("horizon_sec"))
    flow["guidance_scale"] = float(flow.pop("cfg_guidance_scale", 1.0))
    flow["action_horizon"] = int(action_model["action_horizon"])
    return FlowConfig(**{"num_embodiments": 32, "use_state": False, **flow})


def _check(config: ModelConfig, where: str) -> None:
    layers = int(config.base_vlm["text_config"]["num_hidden_layers"])
    if not 1 <= config.language_layers <= layers:
        raise UserMistake(f"{where}: expected 1 to {layers} language layers (the base model's), got {config.language_layers}")
    if len(config.base_vlm["vision_config"]["deepstack_visual_indexes"]) > config.language_layers:
        raise UserMistake(f"{where}: expected at least as many language layers as deepstack features, got {config.language_layers}")
    for name, dim, heads in (("lam", config.lam.dim, config.lam.num_heads), ("flow", config.flow.hidden_dim, config.flow.attention_heads)):
        if dim % heads:
            raise UserMistake(f"{where}: {name} width {dim} must be a multiple of its {heads} heads")
