"""Names of tensors: the official spelling in files, the installed library's spelling in modules."""

from collections.abc import Mapping

import torch
from torch import Tensor, nn

from lawam_ros.contract.errors import UserMistake

PREFIX = "policy_backend."
_ALIASES = (("policy_action_head.", PREFIX + "flow."), ("policy_vlm_adapter.model.", PREFIX + "vlm."))
_DINO_NEW, _DINO_OLD = "vision_encoder.model.model.layer.", "vision_encoder.model.layer."
THIRD_PARTY = "lam.vision_encoder."


def official_key(module_key: str) -> str:
    """Name in a file of a tensor that the module calls ``module_key``."""
    return PREFIX + module_key.replace(_DINO_NEW, _DINO_OLD)


def canonical_state(state: Mapping[str, Tensor], where: str) -> dict[str, Tensor]:
    """Tensors under their canonical names ``policy_backend.*``, whatever spelling the file uses.

    Understands aliases of the action head and the language model (which must equal the canonical tensors when both are there), a leading
    ``model.``, both DINOv3 spellings, and drops ``lm_head``.
    """
    canonical: dict[str, Tensor] = {}
    for key, tensor in state.items():
        name = _canonical_key(key)
        if name.endswith("lm_head.weight"):
            continue
        known = canonical.get(name)
        if known is not None and not _same(known, tensor):
            raise UserMistake(f"{where}: tensor {name} is stored twice with different values; the file is damaged")
        if known is None or key.endswith(name):
            canonical[name] = tensor
    return canonical


def module_state(state: Mapping[str, Tensor], module: nn.Module, optional: tuple[str, ...], where: str) -> dict[str, Tensor]:
    """Tensors under the names of ``module``. UserMistake for missing, unknown or misshapen ones.

    optional: prefixes of module names that no file needs to have.
    """
    expected = {official_key(key): (key, tensor) for key, tensor in module.state_dict().items()}
    needed = {name for name, (key, _) in expected.items() if not key.startswith(optional)}
    missing, extra = sorted(needed - set(state)), sorted(set(state) - set(expected))
    if missing:
        raise UserMistake(f"{where}: {len(missing)} of {len(needed)} tensors are missing, first {missing[0]}; the checkpoint is incomplete")
    if extra:
        raise UserMistake(f"{where}: {len(extra)} unknown tensors, first {extra[0]}; the checkpoint does not fit its config.yaml")
    for name, tensor in state.items():
        if tensor.shape != expected[name][1].shape:
            wanted, got = tuple(expected[name][1].shape), tuple(tensor.shape)
            raise UserMistake(f"{where}: tensor {name}: expected shape {wanted} from config.yaml, got {got}")
    return {expected[name][0]: tensor for name, tensor in state.items()}


def _canonical_key(key: str) -> str:
    if key.startswith("model." + PREFIX):
        key = key[len("model.") :]
    for alias, canonical in _ALIASES:
        if key.startswith(alias):
            key = canonical + key[len(alias) :]
    return key.replace(_DINO_NEW, _DINO_OLD)


def _same(first: Tensor, second: Tensor) -> bool:
    if first.shape != second.shape:
        return False
    if first.dtype == second.dtype and first.data_ptr() == second.data_ptr() and first.stride() == second.stride():
        return True  # The trainer registers one tensor under both names and stores it once: nothing has to be read.
    common = torch.promote_types(first.dtype, second.dtype)
    return torch.equal(first.to(common), second.to(common))
