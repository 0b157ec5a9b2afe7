"""What may change from episode to episode beyond the places of things: colours, light, cameras, the size of things, distractors.

Every kind of change draws from a stream of its own, so that adding one leaves the others and the layout of a seed as they were.
"""

import colorsys
from collections.abc import Callable, Mapping, Sequence

import mujoco
import numpy as np
from numpy.typing import NDArray

from lawam_ros.contract.rotations import quat_from_rotvec, quat_multiply
from lawam_ros.sim.layout import Ground, draw_free, spot

Array = NDArray[np.float64]

COLOUR, LIGHT, CAMERA, DISTRACTORS, START, SIZE = "colour", "light", "camera", "distractors", "start", "size"
VARIATIONS = (COLOUR, LIGHT, CAMERA, DISTRACTORS, START, SIZE)
START_NOISE_FACTOR = 3.0
CABINET_SUNK_M = 0.03
"""With ``size``: a cabinet may be lower by so much."""
TOWEL_SCALE = (0.85, 1.05)
"""With ``size``: of a towel."""

_CUBE_SCALE = (0.75, 1.25)
_LARGEST_CUBE_M = 0.06  # wider ones leave the open hand no room
_HUE_APART = 0.15
_DISTRACTOR_COUNT = 3
_DISTRACTOR_AREA_M = ((0.33, -0.42), (0.74, 0.42))
_DISTRACTOR_CLEARANCE_M = 0.085
_AWAY_M = (0.0, 0.0, -2.0)
_STREAM = 78
_MODEL_FIELDS = ("geom_rgba", "geom_size", "flex_rgba", "light_dir", "light_diffuse", "cam_pos", "cam_quat", "cam_fovy")
_HEADLIGHT_FIELDS = ("ambient", "diffuse")


def stream(seed: int, kind: str) -> np.random.Generator:
    return np.random.default_rng([seed, _STREAM, VARIATIONS.index(kind)])


class Variation:
    """Changes a model per episode and says what it looks like then."""

    def __init__(self, model: mujoco.MjModel, kinds: Sequence[str]) -> None:
        self._model = model
        self._kinds = [kind for kind in VARIATIONS if kind in kinds and kind in _CHANGES]
        self._original = look_of(model)
        self._cube = _ids(model, "cube") if SIZE in kinds else []
        self._cube_inertia = model.body_inertia.copy()

    def draw(self, seed: int) -> Mapping[str, Array]:
        """Change the model for this seed; returns its look. Call it before ``mj_resetData``."""
        if not self._kinds and not self._cube:
            return self._original
        wear(self._model, self._original)
        for kind in self._kinds:
            _CHANGES[kind](self._model, stream(seed, kind))
        for geom in self._cube:
            self._scale_cube(geom, float(stream(seed, SIZE).uniform(*_CUBE_SCALE)))
        return look_of(self._model)

    def _scale_cube(self, geom: int, scale: float) -> None:
        """Another size at the same mass, with all that the solver derives from it."""
        model, body = self._model, int(self._model.geom_bodyid[geom])
        size_m = 2.0 * float(model.geom_size[geom, 0])
        scale = min(scale, max(1.0, _LARGEST_CUBE_M / size_m))
        model.geom_size[geom] *= scale
        model.geom_aabb[geom, 3:] = model.geom_size[geom]
        model.geom_rbound[geom] = np.linalg.norm(model.geom_size[geom])
        model.body_inertia[body] = self._cube_inertia[body] * scale**2
        mujoco.mj_setConst(model, mujoco.MjData(model))


def look_of(model: mujoco.MjModel) -> dict[str, Array]:
    """Copies of what decides how a model is drawn, by name; ``wear`` puts them on."""
    look = {name: getattr(model, name).copy() for name in _MODEL_FIELDS}
    return look | {name: getattr(model.vis.headlight, name).copy() for name in _HEADLIGHT_FIELDS}


def wear(model: mujoco.MjModel, look: Mapping[str, Array]) -> None:
    for name in _MODEL_FIELDS:
        getattr(model, name)[:] = look[name]
    for name in _HEADLIGHT_FIELDS:
        getattr(model.vis.headlight, name)[:] = look[name]


def distractors_xml() -> str:
    """A flat bar, a tin and a ball, fixed where they are put; parked under the floor."""
    shapes = ('type="box" size="0.04 0.012 0.008"', 'type="cylinder" size="0.02 0.022"', 'type="sphere" size="0.022"')
    heights = (0.008, 0.022, 0.022)
    return "".join(
        f"""
    <body name="distractor_{i}" mocap="true" pos="{_AWAY_M[0]} {_AWAY_M[1]} {_AWAY_M[2]}">
      <geom name="distractor_{i}" class="scene" {shape} pos="0 0 {height}" rgba="0.5 0.5 0.5 1" material="matt"/>
    </body>"""
        for i, (shape, height) in enumerate(zip(shapes, heights, strict=True))
    )


def place_distractors(random: np.random.Generator, model: mujoco.MjModel, data: mujoco.MjData, taken: Sequence[Ground]) -> None:
    """Put them on free ground, far enough from everything for a hand to come down between."""
    ground = list(taken)
    for i in range(_DISTRACTOR_COUNT):
        place = draw_free(random, *_DISTRACTOR_AREA_M, ground, _DISTRACTOR_CLEARANCE_M, "distractor")
        ground.append(spot(place))
        yaw, mocap = random.uniform(0.0, np.pi), int(model.body(f"distractor_{i}").mocapid[0])
        data.mocap_pos[mocap] = [*place, 0.0]
        data.mocap_quat[mocap] = [np.cos(yaw / 2), 0.0, 0.0, np.sin(yaw / 2)]


def _colour(model: mujoco.MjModel, random: np.random.Generator) -> None:
    """Cube: half the time near its own hue, else any but the pad's; pad near its own; cabinet, front and handle in three colours."""
    pad_hue = _hue(model, "pad") + random.uniform(-0.04, 0.04)
    cube_hue = _hue(model, "cube") + random.uniform(-0.02, 0.02)
    other_hue = pad_hue + random.uniform(_HUE_APART, 1.0 - _HUE_APART)
    _paint(model, "pad", _rgb(pad_hue, random.uniform(0.75, 1.0), random.uniform(0.6, 0.95)))
    _paint(model, "cube", _rgb(cube_hue if random.random() < 0.5 else other_hue, random.uniform(0.75, 1.0), random.uniform(0.6, 0.95)))
    front_hue = random.uniform()
    handle_hue = front_hue + random.uniform(_HUE_APART, 1.0 - _HUE_APART)
    front = _rgb(front_hue, random.uniform(0.2, 0.8), random.uniform(0.35, 0.8))
    _paint(model, "cabinet_", _rgb(random.uniform(), random.uniform(0.0, 0.25), random.uniform(0.55, 0.95)))
    _paint(model, "drawer_", front)
    _paint(model, "cabinet_panel", 0.9 * front)
    _paint(model, "handle", _rgb(handle_hue, random.uniform(0.6, 1.0), random.uniform(0.7, 1.0)))
    tone = random.uniform(0.75, 1.15) * random.uniform(0.94, 1.06, 3)
    for geom in _ids(model, "plank_"):
        model.geom_rgba[geom, :3] = np.clip(model.geom_rgba[geom, :3] * tone, 0.0, 1.0)
    if model.nflex:
        model.flex_rgba[:, :3] = _rgb(random.uniform(), random.uniform(0.2, 1.0), random.uniform(0.4, 0.95))


def _light(model: mujoco.MjModel, random: np.random.Generator) -> None:
    """Where the lamp hangs, how bright and how warm it is, how much light comes from everywhere."""
    lamp = model.light("lamp").id
    direction = model.light_dir[lamp] + random.uniform(-0.45, 0.45, 3) * np.array([1.0, 1.0, 0.0])
    model.light_dir[lamp] = direction / np.linalg.norm(direction)
    model.light_diffuse[lamp] *= random.uniform(0.5, 1.4) * np.array([1.0, 1.0, random.uniform(0.85, 1.1)])
    model.vis.headlight.ambient[:] *= random.uniform(0.75, 1.3)
    model.vis.headlight.diffuse[:] *= random.uniform(0.5, 1.5)


def _camera(model: mujoco.MjModel, random: np.random.Generator) -> None:
    """Every camera a little beside its place: the front one by 3 cm, 2.5 degrees and 4 % of its field of view, one on the hand by less."""
    for camera in range(model.ncam):
        at_hand = model.cam_bodyid[camera] != 0
        shift_m, turn_rad, zoom = (0.004, 0.02, 0.01) if at_hand else (0.03, 0.044, 0.04)
        model.cam_pos[camera] += random.uniform(-shift_m, shift_m, 3)
        model.cam_fovy[camera] *= random.uniform(1.0 - zoom, 1.0 + zoom)
        w, x, y, z = model.cam_quat[camera]
        turned = quat_multiply(quat_from_rotvec(random.uniform(-turn_rad, turn_rad, 3)), np.array([x, y, z, w]))
        model.cam_quat[camera] = turned[[3, 0, 1, 2]]


def _distractor_colours(model: mujoco.MjModel, random: np.random.Generator) -> None:
    """Any colour but the cube's."""
    for i in range(_DISTRACTOR_COUNT):
        hue = _hue(model, "cube") + random.uniform(_HUE_APART, 1.0 - _HUE_APART)
        _paint(model, f"distractor_{i}", _rgb(hue, random.uniform(0.0, 0.9), random.uniform(0.2, 0.9)))


_CHANGES: dict[str, Callable[[mujoco.MjModel, np.random.Generator], None]] = {
    COLOUR: _colour,
    LIGHT: _light,
    CAMERA: _camera,
    DISTRACTORS: _distractor_colours,
}


def _ids(model: mujoco.MjModel, prefix: str) -> list[int]:
    return [i for i in range(model.ngeom) if model.geom(i).name.startswith(prefix)]


def _hue(model: mujoco.MjModel, name: str) -> float:
    ids = _ids(model, name)
    return colorsys.rgb_to_hsv(*model.geom_rgba[ids[0], :3].tolist())[0] if ids else 0.0


def _rgb(hue: float, saturation: float, value: float) -> Array:
    return np.array(colorsys.hsv_to_rgb(hue % 1.0, saturation, value))


def _paint(model: mujoco.MjModel, prefix: str, rgb: Array) -> None:
    for geom in _ids(model, prefix):
        model.geom_rgba[geom, :3] = rgb
