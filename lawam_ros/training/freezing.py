"""Which parameters a stage trains, and which modules stay in evaluation mode because nothing of them is trained."""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from torch import nn

from lawam_ros.contract.yaml_fields import Fields
from lawam_ros.model.lawam import LaWAM
from lawam_ros.training.run_state import NamedParameters

_VISION, _LANGUAGE = "vlm.model.visual.", "vlm.model.language_model."
_MERGERS = (_VISION + "merger.", _VISION + "deepstack_merger_list.")
_EMBEDDING = _LANGUAGE + "embed_tokens."
_LAYER = re.compile(re.escape(_LANGUAGE) + r"layers\.(\d+)\.")
_STAGE1 = ("lam.encoder.", "lam.vq.", "lam.decoder.", "lam.state_decoder.")
_EXPERT = "flow."


@dataclass(frozen=True)
class FreezePolicy:
    """Official freeze switches of stage 2. The latent action model is always frozen, its decoder unless ``unfreeze_lam_decoder``.

    unfreeze_vision_merger: a frozen vision tower keeps training its mergers. unfreeze_llm_last_n_layers: a frozen language model keeps
    training its last layers and final norm, -1 or 0 none. only_action_expert: ours, nothing but the action expert is trained.
    """

    freeze_vision_backbone: bool = False
    freeze_llm_backbone: bool = False
    freeze_embedding: bool = True
    unfreeze_lam_decoder: bool = True
    unfreeze_vision_merger: bool = True
    unfreeze_llm_last_n_layers: int = -1
    only_action_expert: bool = False


def freeze_policy(section: Mapping[str, Any]) -> FreezePolicy:
    """The ``trainer.freeze`` section of an official configuration; absent switches take the released values."""
    fields = Fields(section, "trainer.freeze")
    for key in ("keep_llm_first_n_layers", "freeze_last_llm_layer"):
        fields.has(key)  # shape of the model; the head that would be frozen does not exist
    flags = (
        "freeze_vision_backbone",
        "freeze_llm_backbone",
        "freeze_embedding",
        "unfreeze_lam_decoder",
        "unfreeze_vision_merger",
        "only_action_expert",
    )
    chosen: dict[str, Any] = {key: fields.flag(key) for key in flags if fields.has(key)}
    if fields.has("unfreeze_llm_last_n_layers"):
        chosen["unfreeze_llm_last_n_layers"] = fields.integer("unfreeze_llm_last_n_layers", -1, 1000)
    fields.done()
    return FreezePolicy(**chosen)


def stage1_parameters(model: nn.Module) -> NamedParameters:
    """What stage 1 trains: inverse-dynamics encoder, bottleneck, world model, state predictor. ``model`` holds them as ``lam``."""
    return {name: parameter for name, parameter in model.named_parameters() if name.startswith(_STAGE1)}


def stage2_parameters(model: LaWAM, policy: FreezePolicy) -> NamedParameters:
    """What stage 2 trains under a freeze policy."""
    layers = model.config.language_layers
    return {name: parameter for name, parameter in model.named_parameters() if _trained(name, policy, layers)}


def trains_the_expert_alone(names: Iterable[str]) -> bool:
    """Whether parameters of these names leave everything before the action expert as it is."""
    return all(name.startswith(_EXPERT) for name in names)


def train_only(model: nn.Module, parameters: NamedParameters) -> None:
    """Gradients for ``parameters`` and nothing else; modules none of whose parameters are trained go to evaluation mode, the others, and
    those that have no parameters of their own, follow their parent."""
    for name, parameter in model.named_parameters():
        parameter.requires_grad_(name in parameters)
    _set_mode(model, True)


def _set_mode(module: nn.Module, parent: bool) -> None:
    own = list(module.parameters())
    mode = any(parameter.requires_grad for parameter in own) if own else parent
    if own and not mode:
        module.eval()
        return
    module.training = mode
    for child in module.children():
        _set_mode(child, mode)


def _trained(name: str, policy: FreezePolicy, layers: int) -> bool:
    if policy.only_action_expert:
        return trains_the_expert_alone([name])
    if name.startswith("lam."):
        return name.startswith("lam.decoder.") and policy.unfreeze_lam_decoder
    if name.startswith(_VISION):
        return not policy.freeze_vision_backbone or (policy.unfreeze_vision_merger and name.startswith(_MERGERS))
    if name.startswith(_EMBEDDING):
        return not policy.freeze_embedding
    if name.startswith(_LANGUAGE) and policy.freeze_llm_backbone:
        layer = _LAYER.match(name)
        kept = max(0, policy.unfreeze_llm_last_n_layers)
        return int(layer[1]) >= layers - kept if layer else kept > 0
    return True
