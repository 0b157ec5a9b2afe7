"""Datasets and a model file of toy size, so that training commands run in seconds."""

import copy
import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
import yaml

from lawam_ros.contract.load import load_contract
from lawam_ros.data.episode_schema import ACTION, REFERENCE, STATE, episode_schema, modality_mapping
from lawam_ros.data.lerobot_layout import Schema, VectorFeature, VideoFeature
from lawam_ros.data.lerobot_writer import LeRobotWriter, RecordedEpisode
from lawam_ros.data.statistics import PictureSums
from lawam_ros.data.video import VideoWriter
from lawam_ros.model.config import ModelConfig, load_model_config

SMALL = Path(__file__).parents[1] / "data" / "golden_small"
HEIGHT, WIDTH = 48, 64
FRONT, WRIST = "observation.images.front", "observation.images.wrist"


def write_dataset(
    root: Path,
    fps: int = 10,
    lengths: tuple[int, ...] = (7, 6),
    state: int = 3,
    action: int = 4,
    cameras: tuple[str, ...] = (FRONT, WRIST),
    robot: str = "franka",
) -> Path:
    """A LeRobot folder of a square that moves over noise; no state and action columns where both widths are 0."""
    rng = np.random.default_rng(fps)
    widths = {"observation.state": state, "action": action} if state or action else {"unused": 1}
    vectors = tuple(VectorFeature(key, tuple(f"{key}{i}" for i in range(width))) for key, width in widths.items())
    schema = Schema(robot, fps, vectors, tuple(VideoFeature(camera, HEIGHT, WIDTH) for camera in cameras))
    writer = LeRobotWriter(root, schema, {}, {})
    for number, length in enumerate(lengths):
        videos, sums = {}, {}
        for camera in cameras:
            path, pictures = writer.staging_dir / f"{number}{camera}.mp4", PictureSums()
            with VideoWriter(path, fps, HEIGHT, WIDTH) as video:
                for frame in range(length):
                    picture = rng.integers(0, 60, (HEIGHT, WIDTH, 3), dtype=np.uint8)
                    picture[10:20, 4 * frame : 4 * frame + 10] = (250, 40, 40)
                    video.write(picture)
                    pictures.add(picture)
            videos[camera], sums[camera] = path, pictures.as_mapping()
        columns = {vector.key: rng.uniform(-1, 1, (length, len(vector.names))) for vector in vectors}
        writer.add(RecordedEpisode(number, "move the square", columns, videos, sums, {}))
    writer.close()
    return root


def write_model(path: Path, horizon_s: float = 0.4, dropout: float = 0.1, **flow: object) -> Path:
    """Model file with the classes of the released model, a DINOv3 encoder of random weights and the tokenizer of the golden assets."""
    base = json.loads((SMALL / "assets/qwen3vl-tiny/config.json").read_text())
    base["text_config"] |= {"hidden_size": 32, "intermediate_size": 48, "num_attention_heads": 2, "num_key_value_heads": 1, "head_dim": 16}
    base["text_config"] |= {"num_hidden_layers": 2}
    base["text_config"]["rope_parameters"] = base["text_config"]["rope_parameters"] | {"mrope_section": [4, 2, 2]}
    base["vision_config"] |= {"hidden_size": 32, "intermediate_size": 48, "num_heads": 2, "out_hidden_size": 32, "depth": 2}
    base["vision_config"] |= {"deepstack_visual_indexes": [0]}
    encoder = json.loads((SMALL / "assets/dinov3-tiny/config.json").read_text())
    encoder = {key: value for key, value in encoder.items() if key not in ("out_features", "out_indices", "stage_names")}
    encoder |= {"hidden_size": 32, "intermediate_size": 48, "num_attention_heads": 2, "num_hidden_layers": 2}
    lam = {"dim": 32, "enc_layers": 1, "dec_layers": 1, "num_heads": 2, "ffn_expansion_factor": 2, "code_dim": 8}
    lam |= {"num_embodiments": 32, "max_state_dim": 6, "image_hw": [256, 256], "patch_size": 16}
    head = {"action_dim": 6, "state_dim": 5, "use_state": True, "hidden_dim": 32, "attention_heads": 2, "num_layers": 4}
    head |= {"horizon_sec": horizon_s, "num_embodiments": 32, "dropout": dropout, "num_inference_steps": 2}
    content = {
        "base_vlm": base,
        "tokenizer": str(SMALL / "assets/qwen3vl-tiny"),
        "language_layers": 2,
        "vision_encoder": encoder,
        "lam": lam,
        "action_model": {
            "action_horizon": 10,
            "num_action_queries": 2,
            "flow_action_num_queries": 2,
            "perceptual_weight": 0.1,
            "lam_encoder_distill_weight": 0.1,
            "repeated_diffusion_steps": 2,
            "detach_future_feature": True,
            "flow_cfg": head | flow,
        },
    }
    path.write_text(yaml.safe_dump(content))
    return path


def write_recipe(path: Path, **changes: dict[str, object]) -> Path:
    """The shipped tiny recipe with small batches and frequent reports; changes per stage."""
    content = yaml.safe_load((Path(__file__).parents[2] / "config/training/tiny.yaml").read_text())
    for stage, section in content.items():
        section |= {
            "batch_size": 2,
            "logging_frequency": 1,
            "eval_interval": 3,
            "eval_batches": 1,
            "stride": 1,
            "num_warmup_steps": 1,
            "save_seconds": 0,
        }
        section |= changes.get(stage, {})
    path.write_text(yaml.safe_dump(content))
    return path


def shrunk_tiny() -> ModelConfig:
    """The shipped tiny model with everything that is trained made smaller still."""
    tiny = load_model_config("tiny")
    base = copy.deepcopy(dict(tiny.base_vlm))
    base["text_config"] |= {"hidden_size": 32, "intermediate_size": 48, "num_attention_heads": 2, "num_key_value_heads": 1, "head_dim": 16}
    base["text_config"]["rope_parameters"] = base["text_config"]["rope_parameters"] | {"mrope_section": [4, 2, 2]}
    base["vision_config"] |= {"hidden_size": 32, "intermediate_size": 48, "num_heads": 2, "out_hidden_size": 32}
    lam = replace(tiny.lam, dim=32, enc_layers=1, dec_layers=1, num_heads=2, ffn_expansion_factor=2)
    flow = replace(tiny.flow, hidden_dim=32, attention_heads=2, num_layers=4, vlm_dim=32, dropout=0.0)
    return replace(tiny, base_vlm=base, language_layers=2, lam=lam, flow=flow)


def write_demonstrations(root: Path, task: str, lengths: tuple[int, ...], seed: int = 0) -> Path:
    """A folder with the columns and cameras that ``lawam data make`` records for a task; the hand wanders at random."""
    contract = load_contract(task)
    schema = episode_schema(contract)
    recipe = {"task": task, "robot": contract.robot.name, "overrides": []}
    writer, rng = LeRobotWriter(root, schema, modality_mapping(contract.robot), recipe), np.random.default_rng(seed)
    for number, length in enumerate(lengths):
        videos, sums = {}, {}
        for camera in schema.videos:
            path, pictures = writer.staging_dir / f"{number}{camera.key}.mp4", PictureSums()
            with VideoWriter(path, schema.fps, camera.height, camera.width) as video:
                for _ in range(length):
                    picture = np.kron(
                        rng.integers(0, 255, (camera.height // 40, camera.width // 40, 3), dtype=np.uint8), np.ones((40, 40, 1))
                    )
                    video.write(picture.astype(np.uint8))
                    pictures.add(picture.astype(np.uint8))
            videos[camera.key], sums[camera.key] = path, pictures.as_mapping()
        way = np.cumsum(rng.normal(0.0, 0.01, (length + 1, 8)), axis=0)
        way[:, 3:7] = [1.0, 0.0, 0.0, 0.0]
        way[:, 7] = 0.04 + 0.03 * np.sin(np.arange(length + 1))
        widths = {vector.key: len(vector.names) for vector in schema.vectors}
        columns = {REFERENCE: way[:-1], ACTION: way[1:], STATE: rng.normal(size=(length, widths[STATE]))}
        writer.add(RecordedEpisode(number, contract.task.instruction, columns, videos, sums, {}))
    writer.close()
    return root


def one_thread() -> None:
    torch.set_num_threads(1)
