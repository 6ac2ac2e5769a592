"""One picture of the cube scene with paths, goal and quadrants drawn into it as geometries of MuJoCo's own scene.

Importing this module imports mujoco: call ``dcfm_envs.rendering.prepare_rendering`` before.
"""

# mujoco's own functions come from a compiled module without type information.
# pyright: reportAttributeAccessIssue=false

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Final

import mujoco
import numpy as np
from jaxtyping import Float, UInt8

from dcfm_envs.scene import CUBE_BOUNDS, EFFECTOR_BOUNDS, SCENE_CENTRE, SUCCESS_RADIUS
from dcfm_planner.quadrants import QUADRANTS

Colour = tuple[float, float, float, float]

PLANNED_CUBE: Final[Colour] = (1.0, 0.55, 0.0, 1.0)
PLANNED_EFFECTOR: Final[Colour] = (0.25, 0.75, 1.0, 1.0)
EXECUTED_CUBE: Final[Colour] = (1.0, 1.0, 1.0, 1.0)
GOAL: Final[Colour] = (0.2, 0.9, 0.3, 0.45)
LINES: Final[Colour] = (0.85, 0.85, 0.85, 0.6)

_PATH_RADIUS: Final = 0.0025
_LINE_RADIUS: Final = 0.0015
_MAX_GEOMS: Final = 4000
_BELOW: Final = (0.0, 0.0, -10.0)


class Stage:
    """The scene as seen from the far side of the table, the robot at the back.

    Args:
        model: OGBench's cube scene, as ``CubeSingle().model``.
        width, height: pixels.
        shadows, antialias: look better, and take most of the time where a CPU draws.
    """

    def __init__(
        self, model: Any, width: int = 480, height: int = 360, *, shadows: bool = False, antialias: bool = False
    ) -> None:
        model.vis.global_.offwidth, model.vis.global_.offheight = width, height
        model.vis.quality.offsamples = 4 if antialias else 0
        self._model, self._data = model, mujoco.MjData(model)
        self._renderer = mujoco.Renderer(model, height, width, max_geom=_MAX_GEOMS)
        self._flags = {mujoco.mjtRndFlag.mjRND_SHADOW: shadows, mujoco.mjtRndFlag.mjRND_REFLECTION: shadows}
        self._camera = mujoco.MjvCamera()
        self._camera.lookat[:] = [SCENE_CENTRE[0] - 0.06, 0.0, 0.09]
        self._camera.distance, self._camera.azimuth, self._camera.elevation = 1.0, 180.0, -48.0

    @contextmanager
    def at(self, qpos: Float[np.ndarray, " positions"]) -> Iterator["Sketch"]:
        """Put the joints somewhere, hide OGBench's own goal marker, and give what can be drawn on."""
        self._data.qpos[:] = qpos
        self._data.mocap_pos[:] = _BELOW
        mujoco.mj_forward(self._model, self._data)
        self._renderer.update_scene(self._data, self._camera)
        for flag, value in self._flags.items():
            self._renderer.scene.flags[flag] = value
        yield Sketch(self._renderer)

    def close(self) -> None:
        """Give back what drawing holds."""
        self._renderer.close()


class Sketch:
    """Draws into the scene of a renderer; positions in m, radii in m."""

    def __init__(self, renderer: Any) -> None:
        self._renderer = renderer

    def path(
        self, points: Float[np.ndarray, "n 3"], colour: Colour, radius: float = _PATH_RADIUS, step: int = 1
    ) -> None:
        """A line through points; points closer than a radius to the one before are left out."""
        last = None
        for point in points[::step]:
            if last is None:
                last = point
            elif np.linalg.norm(point - last) > radius:
                self._connect(last, point, colour, radius)
                last = point

    def goal(self, position: Float[np.ndarray, "3"]) -> None:
        """A disc on the floor: the cube's centre above it means success."""
        size = np.array([SUCCESS_RADIUS, 0.0005, 0.0])  # radius, half of the height
        self._put(mujoco.mjtGeom.mjGEOM_CYLINDER, size, np.array([position[0], position[1], 0.001]), GOAL)

    def quadrants(self) -> None:
        """The borders of the quadrants, and their names in the far corners."""
        low, high = EFFECTOR_BOUNDS[:, :2]
        height = _LINE_RADIUS
        x, y = SCENE_CENTRE[:2]
        self._connect(np.array([low[0], y, height]), np.array([high[0], y, height]), LINES, _LINE_RADIUS)
        self._connect(np.array([x, low[1], height]), np.array([x, high[1], height]), LINES, _LINE_RADIUS)
        (near, right), (far, left) = CUBE_BOUNDS
        corners = {"TL": (far, left), "TR": (far, right), "BL": (near, left), "BR": (near, right)}
        for name in QUADRANTS:
            self._put(mujoco.mjtGeom.mjGEOM_SPHERE, np.full(3, 1e-4), np.array([*corners[name], 0.0]), LINES, name)

    def picture(self) -> UInt8[np.ndarray, "height width 3"]:
        """What was drawn."""
        return self._renderer.render().copy()

    def _connect(
        self, start: Float[np.ndarray, "3"], end: Float[np.ndarray, "3"], colour: Colour, radius: float
    ) -> None:
        geom = self._put(mujoco.mjtGeom.mjGEOM_CAPSULE, np.zeros(3), np.zeros(3), colour)
        if geom is not None:
            mujoco.mjv_connector(geom, mujoco.mjtGeom.mjGEOM_CAPSULE, radius, start, end)

    def _put(
        self,
        kind: Any,
        size: Float[np.ndarray, "3"],
        position: Float[np.ndarray, "3"],
        colour: Colour,
        label: str = "",
    ) -> Any:
        """Add a geometry to the scene; ``None`` where it is full."""
        scene = self._renderer.scene
        if scene.ngeom >= scene.maxgeom:
            return None
        geom = scene.geoms[scene.ngeom]
        mujoco.mjv_initGeom(geom, kind, size, position, np.eye(3).ravel(), np.array(colour, dtype=np.float32))
        geom.label = label
        scene.ngeom += 1
        return geom
