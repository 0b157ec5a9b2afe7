"""The parts of transformers the model is made of, imported as if torchvision were not installed.

Nothing here needs torchvision, but transformers imports it where it finds it, and one that does not fit the installed torch (the usual
fault) raises on import and would take the model with it. A torchvision that is already imported works, and is left alone.
"""

import sys

from lawam_ros.model.attention import LANGUAGE_ATTENTION, language_attention

_hide = "torchvision" not in sys.modules
if _hide:
    # What makes an import of it fail, and transformers remember that it is not there.
    sys.modules["torchvision"] = None  # type: ignore[assignment]
try:
    from transformers import AttentionInterface, AttentionMaskInterface, AutoTokenizer, DINOv3ViTConfig, DINOv3ViTModel, Qwen3VLConfig
    from transformers.masking_utils import ALL_MASK_ATTENTION_FUNCTIONS
    from transformers.models.qwen3_vl.modeling_qwen3_vl import Qwen3VLModel
finally:
    if _hide:
        del sys.modules["torchvision"]

AttentionInterface.register(LANGUAGE_ATTENTION, language_attention)
AttentionMaskInterface.register(LANGUAGE_ATTENTION, ALL_MASK_ATTENTION_FUNCTIONS["sdpa"])

__all__ = ["AutoTokenizer", "DINOv3ViTConfig", "DINOv3ViTModel", "Qwen3VLConfig", "Qwen3VLModel"]
