"""Placements: what is drawn fills the boxes that OGBench draws from and leaves none of them."""

import numpy as np

from dcfm_envs.placement import place
from dcfm_envs.scene import CUBE_BOUNDS, CUBE_REST_HEIGHT, EFFECTOR_START_BOUNDS


def test_what_is_drawn_fills_ogbench_s_boxes() -> None:
    rng = np.random.default_rng(0)
    drawn = [place({}, rng) for _ in range(500)]
    cube = np.column_stack([CUBE_BOUNDS, [CUBE_REST_HEIGHT] * 2])
    boxes = {
        "cube_position": cube,
        "goal_position": cube,
        "effector_position": EFFECTOR_START_BOUNDS,
        "goal_effector_position": EFFECTOR_START_BOUNDS,
        "cube_yaw": np.array([0, 2 * np.pi]),
        "goal_yaw": np.array([0, 2 * np.pi]),
        "effector_yaw": np.array([-np.pi, np.pi]),
        "goal_effector_yaw": np.array([-np.pi, np.pi]),
    }
    for name, (low, high) in boxes.items():
        values = np.array([getattr(placement, name) for placement in drawn])
        slack = 0.03 * (high - low)
        assert (values >= low).all(), name
        assert (values <= high).all(), name
        assert (values.min(0) <= low + slack).all(), name
        assert (values.max(0) >= high - slack).all(), name
    assert {placement.gripper_opening for placement in drawn} == {0.0}
