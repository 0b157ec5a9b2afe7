"""Loading for inference: the same numbers, without what inference never reads."""

import numpy as np
import pytest
import torch
from random_run import SMALL, official_tensors, write_run
from safetensors.torch import save_file

from lawam_ros.contract.errors import UserMistake
from lawam_ros.model.checkpoint import load_checkpoint
from lawam_ros.model.sampler import sample_actions
from lawam_ros.model.weights_file import read_tensors

RUN = SMALL / "runs" / "nostate"


@pytest.fixture(scope="module")
def whole():
    torch.set_num_threads(1)
    return load_checkpoint(RUN)


@pytest.fixture(scope="module")
def slim():
    return load_checkpoint(RUN, for_inference=True, embodiment_id=4)


def velocity(checkpoint, embodiment_id):
    flow = checkpoint.model.flow
    generator = torch.Generator().manual_seed(0)
    config = flow.config
    features = torch.randn(2, 1, 256, config.vision_dim, generator=generator)
    hidden = torch.randn(1, 9, config.vlm_dim, generator=generator)
    noise = torch.randn(1, config.action_horizon, config.action_dim, generator=generator)
    context = flow.context(features[0], features[1], hidden, None)
    return sample_actions(flow, context, noise, torch.tensor([20.0]), torch.tensor([checkpoint.embodiment_row(embodiment_id)]), steps=2)


def test_the_numbers_are_the_same(whole, slim):
    frames = torch.randint(0, 256, (1, 3, 256, 256), dtype=torch.uint8)
    assert torch.equal(slim.model.encode_images(frames), whole.model.encode_images(frames))
    torch.testing.assert_close(velocity(slim, 4), velocity(whole, 4), atol=1e-6, rtol=0)
    assert not torch.allclose(velocity(whole, 4), velocity(whole, 3), atol=1e-3)


def test_what_is_left_out_takes_no_memory(whole, slim):
    names = set(slim.model.state_dict())
    last = whole.config.vision_encoder["num_hidden_layers"] - 1
    block = (f"lam.vision_encoder.model.{inner}layer.{last}." for inner in ("", "model."))
    gone = ("lam.encoder.", "lam.vq.", "lam.state_decoder.", "lam.vision_encoder.model.norm", *block)
    assert names == {name for name in whole.model.state_dict() if not name.startswith(gone)}
    assert not [parameter for parameter in slim.model.parameters() if parameter.is_meta]
    assert {len(tensor) for name, tensor in slim.model.state_dict().items() if name.startswith("flow.action_") and ".W" in name} == {1}
    held = sum(tensor.untyped_storage().nbytes() for tensor in slim.model.state_dict().values())
    assert held == 4 * sum(parameter.numel() for parameter in slim.model.parameters())


def test_without_an_embodiment_all_layers_stay():
    loaded = load_checkpoint(RUN, for_inference=True)
    assert (loaded.embodiment_id, loaded.embodiment_row(5)) == (None, 5)
    assert len(loaded.model.flow.action_encoder.W1.W) == loaded.config.flow.num_embodiments
    assert not hasattr(loaded.model.lam, "encoder")


def test_other_embodiments_are_refused(slim):
    with pytest.raises(UserMistake, match="^the checkpoint holds the layers of embodiment 4 only, got 3$"):
        slim.embodiment_row(3)
    for wrong in (-1, 6):
        with pytest.raises(UserMistake, match=f"^expected an embodiment id of 0 to 5, got {wrong}$"):
            slim.embodiment_row(wrong)
        with pytest.raises(UserMistake, match=f"^expected an embodiment id of 0 to 5, got {wrong}$"):
            load_checkpoint(RUN, for_inference=True, embodiment_id=wrong)


def test_the_language_model_may_stay_bfloat16():
    loaded = load_checkpoint(RUN, for_inference=True, vlm_dtype=torch.bfloat16)
    dtypes = {name.split(".")[0]: parameter.dtype for name, parameter in loaded.model.named_parameters()}
    assert dtypes.pop("vlm") == torch.bfloat16
    assert set(dtypes.values()) == {torch.float32}


@pytest.mark.parametrize("legacy", [False, True])
def test_torch_files_are_mapped_where_their_format_allows(tmp_path, whole, legacy):
    path = tmp_path / "weights.pt"
    torch.save(official_tensors(whole.model), path, _use_new_zipfile_serialization=not legacy)
    tensors = read_tensors(path)
    assert torch.equal(tensors["policy_backend.act_query"], whole.model.act_query)
    path.unlink()  # A mapping outlives the name.
    assert torch.equal(tensors["policy_action_head.cfg_embeddings"], whole.model.flow.cfg_embeddings)


def test_loaded_weights_do_not_depend_on_the_file(tmp_path, whole):
    (tmp_path / "assets").symlink_to(SMALL / "assets")
    content, statistics = ((RUN / name).read_text() for name in ("config.yaml", "dataset_statistics.json"))
    run = write_run(tmp_path, {}, {}, {})
    (run / "config.yaml").write_text(content)
    (run / "dataset_statistics.json").write_text(statistics)
    (run / "final_model" / "pytorch_model.pt").unlink()
    file = run / "final_model" / "model.safetensors"
    save_file({key: tensor.clone() for key, tensor in official_tensors(whole.model, aliases=False).items()}, file)
    loaded = load_checkpoint(run, for_inference=True)
    before = {key: tensor.clone() for key, tensor in loaded.model.state_dict().items()}
    size = file.stat().st_size
    with file.open("r+b") as stream:
        stream.seek(size // 2)
        stream.write(np.full(size // 2, 0x55, np.uint8).tobytes())
    assert all(torch.equal(tensor, before[key]) for key, tensor in loaded.model.state_dict().items())
