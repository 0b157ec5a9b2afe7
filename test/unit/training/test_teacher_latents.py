"""The teacher's latent actions: worked out once, read back while nothing they depend on has changed."""

from dataclasses import dataclass, replace

import numpy as np
import pytest
import torch
from toy_training import one_thread, shrunk_tiny

from lawam_ros.model.lawam import build_model
from lawam_ros.training.sources import Source
from lawam_ros.training.teacher_latents import with_teacher

CPU = torch.device("cpu")


@dataclass
class Features:
    """Features of rows; ``asked`` counts how many were read."""

    values: torch.Tensor
    asked: int = 0

    def features(self, rows):
        self.asked += len(rows)
        return self.values[torch.from_numpy(rows)]


@pytest.fixture(scope="module")
def model():
    one_thread()
    torch.manual_seed(0)
    return build_model(shrunk_tiny())


@pytest.fixture
def source(model):
    count, tokens = 300, model.config.lam.grid_hw[0] * model.config.lam.grid_hw[1]
    values = torch.randn((count, tokens, model.config.feature_dim), generator=torch.Generator().manual_seed(1))
    future = np.minimum(np.arange(count) + 7, count - 1)
    empty = np.zeros((count, 1), dtype=np.float32)
    return Source("toy", np.arange(0, 290, 2), future, empty, empty, Features(values), (1, 0), ("do",), np.zeros(count, int), "a", 0, 20.0)


def test_kept_latents_are_those_that_were_worked_out(model, source, tmp_path):
    done = []
    first = with_teacher(source, model, CPU, False, tmp_path, done.append)
    assert first.teacher.shape == (145, 1, model.config.lam.code_dim) and sum(done) == 145
    now, later = source.pictures.values[source.starts[9]], source.pictures.values[source.future[source.starts[9]]]
    torch.testing.assert_close(first.teacher[9], model.lam.teacher_latent(torch.stack([now, later])[None])[0])
    source.pictures.asked = 0
    again = with_teacher(source, model, CPU, False, tmp_path)
    assert torch.equal(again.teacher, first.teacher)
    assert source.pictures.asked <= 33, "read back, only a sample of the features is looked at"


@pytest.mark.parametrize("change", ["teacher", "features", "starts", "precision"])
def test_whatever_they_depend_on_makes_them_anew(model, source, tmp_path, change):
    with_teacher(source, model, CPU, False, tmp_path)
    if change == "teacher":
        model.lam.vq.mu.bias.data += 0.1
    if change == "features":
        source = replace(source, pictures=Features(source.pictures.values + 0.1))
    if change == "starts":
        source = replace(source, starts=source.starts[:-1])
    with_teacher(source, model, CPU, change == "precision", tmp_path)
    assert len(list(tmp_path.glob("*.safetensors"))) == 2


def test_without_a_folder_nothing_is_written(model, source, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert with_teacher(source, model, CPU, False).teacher is not None
    assert not list(tmp_path.iterdir())
