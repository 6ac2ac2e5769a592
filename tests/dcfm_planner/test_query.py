"""Observations, goals and names as people have them."""

import numpy as np
import pytest

from dcfm_envs.placement import check_options
from dcfm_envs.scene import SCENE_CENTRE, STATE_SLICES
from dcfm_planner.query import LABEL_MARGIN, NULL, at_reset, batched, check_names, goal_positions, labels_at, labels_of


def raw(number: int) -> np.ndarray:
    """Observations of a cube at the scene's centre, yaws of zero."""
    observations = np.zeros((number, 28))
    observations[:, [15, 26]] = 1
    return observations


def test_places_ask_for_their_quadrant_and_for_none_near_a_border() -> None:
    margin = LABEL_MARGIN
    places = np.array([[0.5, 0.2, 0], [0.5, -0.2, 0], [0.3, 0.2, 0], [0.3, -0.2, 0]])
    assert labels_at(places).tolist() == [0, 1, 2, 3]
    assert labels_at(np.array([[0.425 + margin / 2, 0.2, 0], [0.5, -margin / 2, 0]])).tolist() == [NULL, NULL]


def test_the_margin_without_labels_is_training_s_2_cm() -> None:
    offsets = np.array([0.019, 0.021, -0.019, -0.021])
    across = np.column_stack([0.425 + offsets, np.full(4, 0.2), np.zeros(4)])
    along = np.column_stack([np.full(4, 0.5), offsets, np.zeros(4)])
    assert labels_at(across).tolist() == [NULL, 0, NULL, 2]
    assert labels_at(along).tolist() == [NULL, 0, NULL, 1]


def test_an_episode_begins_where_all_joints_are_at_rest() -> None:
    observations = raw(3)
    observations[1:, STATE_SLICES["joint_velocity"]] = 0.1
    observations[2, STATE_SLICES["joint_velocity"].start] = 0.0  # one of six
    assert at_reset(observations).tolist() == [True, False, False]


def test_names_go_before_defaults() -> None:
    default, rows = np.array([0, 1]), np.array([0, 2])
    assert labels_of(None, "source", default, rows, 3).tolist() == [0, 1]
    assert labels_of("BR", "source", default, rows, 3).tolist() == [3, 3]
    assert labels_of(["TR", "TR", None], "source", default, rows, 3).tolist() == [1, 1]
    for names in (["TR"] * 2, ["TR"] * 4):
        with pytest.raises(ValueError, match=f"{len(names)} names of source quadrants; .* one for each of 3 rows"):
            labels_of(names, "source", default, rows, 3)


def test_quadrants_go_by_names() -> None:
    for given in (None, "TL", ["TL", None], np.array(["TL", "BR"])):
        check_names(given, "source")
    for given in (0, 1.5, np.array(0), np.zeros((1, 2))):
        with pytest.raises(ValueError, match=r"target=.*give the name of a quadrant \(TL, TR, BL, BR\)"):
            check_names(given, "target")


def test_numbers_that_are_not_finite_are_refused() -> None:
    for bad in (np.nan, np.inf):
        with pytest.raises(ValueError, match="a goal with numbers that are not finite"):
            goal_positions([bad, 0.0], 1)
        with pytest.raises(ValueError, match="an observation with numbers that are not finite"):
            batched(np.full(28, bad))


def test_goals_in_three_forms() -> None:
    whole = raw(2)
    whole[:, 19:22] = 10 * np.array([0.1, -0.2, 0.02])
    for given in (whole, whole[0], [0.525, -0.2, 0.02], [0.525, -0.2], np.array([[0.525, -0.2]] * 2)):
        np.testing.assert_allclose(goal_positions(given, 2), [[0.525, -0.2, 0.02]] * 2)
    with pytest.raises(ValueError, match=r"a goal of shape \(3, 3\) for 2 observations"):
        goal_positions(np.zeros((3, 3)), 2)


@pytest.mark.parametrize("goal", [[52.5, -20.0], [0.525, -0.2, 0.9], [0.0, 0.0], [0.4, 1.5, 0.2]])
def test_goals_in_other_units_are_refused(goal: list[float]) -> None:
    with pytest.raises(ValueError, match=r"where the arm cannot put a cube; give metres.*x 0.25 to 0.60"):
        goal_positions(goal, 2)


@pytest.mark.parametrize("goal", [[0.65, 0.0], [0.4, -0.38], [0.4, 0.1, 0.04], [0.4, 0.1, -0.05]])
def test_goals_out_of_reach_or_in_the_air_are_refused(goal: list[float]) -> None:
    with pytest.raises(ValueError, match="where the arm cannot put a cube"):
        goal_positions(goal, 1)


def test_goals_that_the_environment_takes_are_taken_and_lie_on_the_floor() -> None:
    corners = np.array([[0.23, -0.37], [0.62, 0.37]])
    check_options({"goal_position": corners[0]})
    check_options({"goal_position": corners[1]})
    whole = raw(2)
    whole[:, 19:22] = 10 * (np.column_stack([corners, [0.02] * 2]) - SCENE_CENTRE)
    np.testing.assert_allclose(goal_positions(whole.astype(np.float32), 2)[:, :2], corners, atol=1e-6)
    for height, taken in ((0.0, 0.02), (0.01996, 0.01996), (0.028, 0.02)):
        given = np.array([0.4, 0.1, height])
        assert goal_positions(given, 1)[0, 2] == taken
        assert given[2] == height


def test_goals_of_rows_that_are_not_asked_about_may_be_anything() -> None:
    """OGBench's environment tells goals at resets alone."""
    whole = raw(3)
    whole[1:] = 0.0
    np.testing.assert_allclose(goal_positions(whole, 3, np.array([0])), [[0.425, 0.0, 0.02]])
    with pytest.raises(ValueError, match="a goal that is not OGBench's raw state"):
        goal_positions(whole, 3, np.array([0, 2]))


def test_scaled_states_are_refused() -> None:
    """As of Gymnasium's NormalizeObservation, whose first observations are all near zero."""
    scaled = raw(3)
    scaled[1] = 0.0
    with pytest.raises(ValueError, match=r"an observation that is not OGBench's raw state \(columns 15 and 16 must be"):
        batched(scaled)
    with pytest.raises(ValueError, match=r"a goal that is not OGBench's raw state .* below wrappers that scale them"):
        goal_positions(scaled[1], 1)
    scaled = raw(1)
    scaled[0, 26:28] = [0.9, 0.9]
    with pytest.raises(ValueError, match=r"columns 26 and 27 must be the cosine and sine of cube_yaw"):
        batched(scaled)


def test_observations_single_and_many() -> None:
    assert batched(raw(1)[0].astype(np.float32))[0].shape == (1, 28)
    assert batched(raw(3))[1] is False
    with pytest.raises(ValueError, match=r"an observation of shape \(27,\)"):
        batched(np.zeros(27))
