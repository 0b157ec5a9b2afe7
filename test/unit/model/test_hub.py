"""Checkpoints and base models from the hub, with a stand-in for its client: nothing here touches a network."""

import shutil
from pathlib import Path
from types import SimpleNamespace

import pytest
import yaml
from huggingface_hub.errors import (
    GatedRepoError,
    HFValidationError,
    LocalEntryNotFoundError,
    RepositoryNotFoundError,
    RevisionNotFoundError,
)
from random_run import SMALL

from lawam_ros.contract.errors import EnvironmentLacks, UserMistake
from lawam_ros.model.architecture_files import RELEASED_BASE_VLM, base_vlm, latent_action_model, vision_encoder
from lawam_ros.model.checkpoint import load_checkpoint
from lawam_ros.model.config import load_model_config
from lawam_ros.model.hub import BASE_MODEL_FILES, CHECKPOINT_FILES, hub_folder, is_hub_name

ANSWER = SimpleNamespace(headers={}, request=None, status_code=404)


@pytest.mark.parametrize("text", ["owner/name", "owner/na.me-2@v1.0", "o/n@0123abc", "o/n@refs/pr/3"])
def test_hub_names(text):
    assert is_hub_name(text)


@pytest.mark.parametrize("text", ["name", "a/b/c", "/a/b", "./a", "../a", "~/a", "a/", "a b/c", "recorded:a/b"])
def test_what_is_no_hub_name(text):
    assert not is_hub_name(text)


def test_a_checkpoint_is_fetched_without_what_is_not_needed(tmp_path):
    asked = []

    def download(*arguments):
        asked.append(arguments)
        return str(tmp_path)

    assert hub_folder("owner/name@v2", download=download) == tmp_path
    assert hub_folder("owner/name", download=download) == tmp_path
    assert asked == [("owner/name", "v2", CHECKPOINT_FILES), ("owner/name", None, CHECKPOINT_FILES)]
    assert not [pattern for pattern in CHECKPOINT_FILES if Path("checkpoints/steps_100_pytorch_model.pt").match(pattern)]


@pytest.mark.parametrize(
    ("error", "kind", "message"),
    [
        (RepositoryNotFoundError("no", response=ANSWER), UserMistake, "the hub has no repository 'owner/name' that may be read"),
        (HFValidationError("no"), UserMistake, "the hub has no repository 'owner/name'"),
        (RevisionNotFoundError("no", response=ANSWER), UserMistake, "the hub has no revision 'v2' of owner/name"),
        (GatedRepoError("no", response=ANSWER), UserMistake, "the hub gives owner/name only to those who accepted its terms"),
        (LocalEntryNotFoundError("no"), EnvironmentLacks, "owner/name@v2: there is no such folder, the hub's cache does not hold it, and"),
        (ConnectionError("no"), EnvironmentLacks, "the hub cannot be reached"),
    ],
)
def test_what_the_hub_refuses_is_one_sentence(error, kind, message):
    def download(*arguments):
        raise error

    with pytest.raises(kind, match=message) as caught:
        hub_folder("owner/name@v2", download=download)
    assert caught.value.exit_code == (2 if kind is UserMistake else 3)
    assert "\n" not in str(caught.value)


def unreachable(*arguments):
    raise LocalEntryNotFoundError("offline")


def test_a_base_model_comes_from_the_hub_when_it_is_not_near(tmp_path):
    asked = []

    def download(*arguments):
        asked.append(arguments)
        return str(SMALL / "assets" / "qwen3vl-tiny")

    for name in ("/data/models/Qwen3-VL-2B-Instruct", "Qwen/Qwen3-VL-2B-Instruct"):
        found = base_vlm(name, tmp_path, tmp_path / "config.yaml", download)
        assert found.config["text_config"]["hidden_size"] == 64
    assert asked == [(RELEASED_BASE_VLM, None, BASE_MODEL_FILES)] * 2
    assert not [pattern for pattern in BASE_MODEL_FILES if Path("model.safetensors").match(pattern)]


def test_a_base_model_that_cannot_be_had_names_the_files_to_copy(tmp_path):
    said_in = tmp_path / "config.yaml"
    for name in ("/data/models/Qwen3-VL-2B-Instruct", "nobody/some-vlm"):
        with pytest.raises(UserMistake) as caught:
            base_vlm(name, tmp_path, said_in, unreachable)
        assert str(caught.value) == (
            f"{said_in}: base_vlm says {name!r}, which exists neither in {tmp_path} nor above it, and is not on the hub for us "
            "(LocalEntryNotFoundError); put config.json, tokenizer.json and tokenizer_config.json of the base model into "
            f"{tmp_path / Path(name).name}"
        )


def test_a_path_that_looks_like_a_hub_name_is_not_looked_up(tmp_path):
    (tmp_path / "assets").mkdir()
    with pytest.raises(UserMistake, match="base_vlm says 'assets/model', which exists neither in .* nor above it; put config.json"):
        base_vlm("assets/model", tmp_path, tmp_path / "config.yaml", unreachable)


def test_files_are_found_by_the_last_part_of_a_foreign_path(tmp_path):
    root = Path(shutil.copytree(SMALL, tmp_path / "golden"))
    run = root / "runs" / "nostate"
    for name in ("qwen3vl-tiny", "dinov3-tiny"):
        shutil.move(root / "assets" / name, run / name)
    shutil.move(root / "assets" / "lam" / "dino_tiny_vae.yaml", run / "dino_tiny_vae.yaml")
    content = yaml.safe_load((run / "config.yaml").read_text())
    content["framework"]["qwenvl"]["base_vlm"] = "/elsewhere/models/qwen3vl-tiny"
    content["framework"]["action_model"]["lam_yaml_path"] = "/elsewhere/dino_tiny_vae.yaml"
    (run / "config.yaml").write_text(yaml.safe_dump(content))
    alone = Path(shutil.copytree(run, tmp_path / "alone" / "run"))
    shutil.rmtree(root)
    assert load_checkpoint(alone).config.tokenizer == str(alone / "qwen3vl-tiny")


def test_the_released_architectures_are_known_by_name(tmp_path):
    released = load_model_config("lawam_2b")
    encoder = vision_encoder("/models/dinov3-vitb16-pretrain-lvd1689m", tmp_path, tmp_path / "config.yaml")
    assert encoder == released.vision_encoder
    lam = latent_action_model("logs/dino_large_vae.yaml", tmp_path, tmp_path / "config.yaml")
    assert (lam["dim"], lam["vision_model_id"]) == (1024, "dinov3-vitb16-pretrain-lvd1689m")
    with pytest.raises(UserMistake, match="vision_model_id says 'dinov3-vits', which exists neither .*put the encoder's config.json into"):
        vision_encoder("dinov3-vits", tmp_path, tmp_path / "config.yaml")
