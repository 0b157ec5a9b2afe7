"""The engine's own way through an inference case: example by example, without padding, only valid rows."""

from collections.abc import Mapping

import torch
from torch import Tensor

from lawam_ros.model.checkpoint import Checkpoint
from lawam_ros.model.fast.chunk import ChunkTensors, denoising_plan, for_embodiment, pack_model, prompt_tensors
from lawam_ros.model.fast.precision import precision_of
from lawam_ros.model.fast.run_chunk import run_directly
from lawam_ros.model.flow_head import valid_steps
from lawam_ros.model.parity import ACTIONS, HIDDEN, GoldenCase, ParityRow, compare
from lawam_ros.model.prompt import PromptEncoder


def compare_engine(case: GoldenCase, checkpoint: Checkpoint, noise: Tensor, traces: Mapping[str, Tensor]) -> list[ParityRow]:
    """Rows ``engine/...`` of actions and features the case stores. Packs the model of ``checkpoint`` in place.

    noise (B, T, action_dim); traces: prepared images, states and tokens as the reference computation left them.
    """
    config, settings = checkpoint.config, case.settings
    packed = pack_model(checkpoint.model, precision_of("float32"))
    encoder = PromptEncoder(config)
    asked = settings["guidance_scale"]
    guidance = config.flow.guidance_scale if asked is None else float(asked)
    steps = settings["num_inference_steps"] or config.flow.num_inference_steps
    rows = []
    for index, example in enumerate(settings["examples"]):
        packed = for_embodiment(packed, checkpoint.embodiment_row(example["embodiment_id"]))
        count = valid_steps(config.flow, example["action_hz"])
        names = [(kind, view) for kind in ("primary", "wrist") for view in range(example[f"n_{kind}"])]
        state, mask = (traces[key][index : index + 1] if config.flow.use_state else None for key in ("flow/state", "flow/state_mask"))
        with torch.no_grad():
            prompt = encoder.batch([(example["lang"], example["n_primary"], example["n_wrist"])])
            given = ChunkTensors(
                frames=torch.stack([traces[f"proc/resized_{kind}/{index}/{view}"].permute(2, 0, 1) for kind, view in names]),
                prompt=prompt_tensors(packed, prompt),
                noise=noise[index : index + 1, :count],
                state=state,
                state_mask=mask,
            )
            plan = denoising_plan(packed, steps, example["action_hz"], guidance)
            chunks, _ = run_directly(packed, given, plan)
        found = (
            ("out/normalized_actions", chunks.actions[0], ACTIONS),
            ("lam/h_t", chunks.h_t, HIDDEN),
            ("lam/h_t1_pred", chunks.h_t1, HIDDEN),
        )
        for key, got, tolerance in found:
            if key in case.tensors:
                expected = case.tensors[key][index]
                rows.append(compare(f"engine/{index}/{key}", expected[: len(got)], got, tolerance))
    return rows
