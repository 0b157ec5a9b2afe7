"""A broken torchvision on the user's machine: nothing of it is needed. (That none is needed at all, the other tests show.)"""

import os
import subprocess
import sys
from pathlib import Path

SMALL = Path(__file__).parents[2] / "data" / "golden_small"
REPOSITORY = Path(__file__).parents[3]
PROGRAM = f"""
import sys
from lawam_ros.model.checkpoint import load_checkpoint
from lawam_ros.model.prompt import PromptEncoder
loaded = load_checkpoint({str(SMALL / "runs" / "nostate")!r})
print(PromptEncoder(loaded.config).batch([("go", 1, 0)]).input_ids.shape[1], 'torchvision' in sys.modules)
"""


def broken(tmp_path):
    """As after an update of torch alone: installed, with metadata, and raising on import."""
    (tmp_path / "torchvision").mkdir()
    (tmp_path / "torchvision" / "__init__.py").write_text('raise RuntimeError("operator torchvision::nms does not exist")\n')
    info = tmp_path / "torchvision-0.28.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: torchvision\nVersion: 0.28.0\n")


def test_a_broken_torchvision_is_not_touched(tmp_path):
    broken(tmp_path)
    env = os.environ | {"PYTHONPATH": os.pathsep.join([str(tmp_path), str(REPOSITORY)])}
    done = subprocess.run([sys.executable, "-c", PROGRAM], capture_output=True, text=True, env=env, timeout=100)
    assert done.returncode == 0, done.stderr
    tokens, imported = done.stdout.split()
    assert int(tokens) > 100 and imported == "False"
    done = subprocess.run([sys.executable, "-c", "import torchvision"], env=os.environ | {"PYTHONPATH": str(tmp_path)}, capture_output=True)
    assert done.returncode != 0, "the stand-in is not the torchvision that Python finds"
