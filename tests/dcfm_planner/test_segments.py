"""Segments: boundaries from the cube's motion, on made-up play whose truth is known and on a real episode."""

import numpy as np
import pytest
import torch

from dcfm_envs.collection import collect_episode
from dcfm_envs.play_data import PlayData
from dcfm_envs.scene import CUBE_REST_HEIGHT, POSITION_SCALE, SCENE_CENTRE, STATE_SLICES
from dcfm_planner.layout import COLUMNS, TRANSITION, denormalise
from dcfm_planner.quadrants import quadrant_of
from dcfm_planner.segments import (
    APPROACH_STEPS,
    HORIZON,
    RETREAT_STEPS,
    START_TOLERANCE,
    agreement,
    cut,
    find_flights,
    find_segments,
)

PLACES = np.array([[0.35, 0.2], [0.5, 0.2], [0.5, -0.2], [0.35, -0.2]])


def made_up(
    cycles: list[tuple[int, int, int]], *, tail: int = 0, places: np.ndarray = PLACES, whole: bool = True
) -> tuple[PlayData, np.ndarray]:
    """One episode: each cycle is (steps before the lift, in the air, after it); the cube moves to the next place.

    Returns the play and the first step of each cycle. The action is large but in a cycle's first step.
    """
    heights, positions, starts, efforts = [], [], [], []
    for k, (before, aloft, after) in enumerate(cycles):
        starts.append(len(heights))
        heights += [CUBE_REST_HEIGHT] * before + [0.15] * aloft + [CUBE_REST_HEIGHT] * after
        here, there = places[k % len(places)], places[(k + 1) % len(places)]
        share = np.concatenate([np.zeros(before), np.linspace(0, 1, aloft), np.ones(after)])[:, None]
        positions.append(here + share * (there - here))
        efforts += [0.05] + [0.6] * (before + aloft + after - 1)
    if tail:
        heights += [CUBE_REST_HEIGHT] * tail
        positions.append(np.repeat(positions[-1][-1:], tail, axis=0))
        efforts += [0.05] + [0.6] * (tail - 1)
    n = len(heights)
    observations = np.zeros((n, 28), dtype=np.float32)
    observations[:, [15, 26]] = 1  # yaws of zero
    cube = np.concatenate([np.concatenate(positions), np.array(heights)[:, None]], axis=1)
    observations[:, STATE_SLICES["cube_position"]] = (cube - SCENE_CENTRE) * POSITION_SCALE
    actions = np.zeros((n, 5), dtype=np.float32)
    actions[:, 0] = efforts
    return PlayData(observations, actions, np.arange(n) == (n - 1 if whole else -1)), np.array(starts)


CYCLE = (APPROACH_STEPS, 35, RETREAT_STEPS - 1)  # the last step in the air is counted in RETREAT_STEPS


def cycle(before: int = 0, aloft: int = 0, after: int = 0) -> tuple[int, int, int]:
    """The usual cycle, some phases longer or shorter by so many steps."""
    return CYCLE[0] + before, CYCLE[1] + aloft, CYCLE[2] + after


def test_flights() -> None:
    height = np.full(100, CUBE_REST_HEIGHT)
    assert find_flights(height).shape == (0, 2)
    height[10] += 0.005  # a push, not a lift
    height[20:30] = height[34:40] = 0.1  # a bounce of 4 steps
    height[55:58] = 0.1  # knocked over, not carried
    height[75:] = 0.1
    np.testing.assert_array_equal(find_flights(height), [[20, 39], [75, 99]])


def test_what_a_flight_is_and_where_it_ends() -> None:
    height = np.full(100, CUBE_REST_HEIGHT)
    height[5:14] = 0.1  # too short to be carried
    height[40:51] = height[65:70] = 0.1  # 14 steps on the floor between them
    np.testing.assert_array_equal(find_flights(height), [[40, 69]])
    height[65] = CUBE_REST_HEIGHT  # 15 steps: what is left is too short
    np.testing.assert_array_equal(find_flights(height), [[40, 50]])


@pytest.mark.parametrize("jitter", range(-START_TOLERANCE, START_TOLERANCE + 1))
def test_boundaries_are_found_wherever_the_lift_comes_early_or_late(jitter: int) -> None:
    play, starts = made_up([CYCLE, cycle(before=jitter), cycle(after=-jitter)], tail=10)
    segments = find_segments(play)
    np.testing.assert_array_equal(segments[:, 0], starts)
    np.testing.assert_array_equal(segments[:-1, 1], starts[1:])
    assert segments[-1, 1] == len(play) - 10


@pytest.mark.parametrize("flights", [((40, 16), (75, 46)), ((5, 16), (38, 43)), ((3, 12), (31, 40))])
def test_a_cube_lifted_again_soon_after_a_drop(flights: tuple[tuple[int, int], ...]) -> None:
    """Each segment holds its own flight, however short the way to the next one is."""
    (lift, aloft), (again, longer) = flights
    play, _ = made_up([(lift, aloft, again - lift - aloft), (0, longer, 60)])
    segments = find_segments(play)
    assert segments.tolist()[0][1] == segments.tolist()[1][0]
    for (start, stop), (first, length) in zip(segments, flights, strict=True):
        assert start <= first
        assert first + length <= stop
    counts = cut(play).counts
    assert counts["found"] == 2
    assert counts["kept"] + counts["slipped"] + counts["not at rest"] + counts["near a border"] == 2


def test_every_segment_of_any_play_holds_a_flight() -> None:
    rng = np.random.default_rng(0)
    for _ in range(200):
        cycles = [(int(a), int(b), int(c)) for a, b, c in rng.integers(0, 45, size=(5, 3))]
        play, _ = made_up(cycles, tail=int(rng.integers(1, 40)))
        cut_at = find_segments(play)
        height = play.part("cube_position")[:, 2] / POSITION_SCALE + SCENE_CENTRE[2]
        assert all(len(find_flights(height[start:stop])) == 1 for start, stop in cut_at)


def test_a_segment_cut_off_by_the_end_is_none() -> None:
    play, starts = made_up([CYCLE, CYCLE, cycle(after=-10)])
    np.testing.assert_array_equal(find_segments(play), [[0, starts[1]], [starts[1], starts[2]]])
    play, starts = made_up([CYCLE, (APPROACH_STEPS, 5, 0)])
    assert len(find_segments(play)) == 1


def test_episodes_are_apart() -> None:
    one, starts = made_up([CYCLE, CYCLE], tail=20)
    two = PlayData(*(np.concatenate([getattr(one, f)] * 2) for f in ("observations", "actions", "terminals")))
    segments = find_segments(two)
    np.testing.assert_array_equal(segments[2:], segments[:2] + len(one))
    np.testing.assert_array_equal(segments[:2, 0], starts)


def test_a_plan_that_lifts_nothing_is_no_segment() -> None:
    """Between two pick-and-places the oracle failed to grasp: both keep their own length."""
    idle = (sum(CYCLE), 0, 0)
    play, starts = made_up([CYCLE, idle, CYCLE], tail=10, places=PLACES[:1].repeat(2, axis=0) + 0.02)
    segments = find_segments(play)
    np.testing.assert_array_equal(segments[:, 0], starts[[0, 2]])
    assert segments[0, 1] == starts[1]
    result = agreement(play, segments, np.append(starts, len(play) - 10))
    assert (result.plans, result.found, result.spurious) == (3, 2, 0)


def test_agreement_is_one_to_one() -> None:
    play, starts = made_up([CYCLE] * 3, tail=10)
    marks = np.append(starts, len(play) - 10)
    segments = find_segments(play)
    perfect = agreement(play, segments, marks)
    assert (perfect.plans, perfect.found, perfect.exact, perfect.spurious, perfect.rate) == (3, 3, 3, 0, 1.0)
    near = agreement(play, segments + START_TOLERANCE, marks)
    assert (near.found, near.exact) == (3, 0)
    far = agreement(play, segments + START_TOLERANCE + 1, marks)
    assert (far.found, far.spurious, far.rate) == (0, 3, 0.0)
    late = agreement(play, segments + np.array([0, START_TOLERANCE + 1]), marks)  # they start well
    assert (late.found, late.spurious) == (0, 3)
    twice = agreement(play, np.concatenate([segments, segments]), marks)
    assert (twice.found, twice.spurious, twice.rate) == (3, 3, 0.5)


def test_a_trajectory_is_the_play_then_stillness() -> None:
    play, starts = made_up([CYCLE, CYCLE], tail=30)
    segments = cut(play)
    assert segments.trajectories.shape == (2, HORIZON, TRANSITION)
    np.testing.assert_array_equal(segments.rows[:, 0], starts)
    length = int(segments.lengths[0])
    assert length == sum(CYCLE)
    rows = denormalise(segments.trajectories[0]).numpy()
    action, cube = COLUMNS["action"].slice, COLUMNS["cube_position"].slice
    np.testing.assert_allclose(rows[:length, action], play.actions[:length], atol=1e-6)
    np.testing.assert_allclose(rows[length:, action], 0, atol=1e-6)
    np.testing.assert_allclose(rows[0, cube], [*PLACES[0], CUBE_REST_HEIGHT], atol=1e-6)
    np.testing.assert_allclose(rows[length:, cube], [[*PLACES[1], CUBE_REST_HEIGHT]] * (HORIZON - length), atol=1e-6)


def test_the_stillness_is_the_state_after_the_last_action() -> None:
    """The effector moves on in every row."""
    play, _ = made_up([CYCLE, CYCLE], tail=10)
    effector = STATE_SLICES["effector_position"]
    play.observations[:, effector.start] = np.arange(len(play)) / 100
    segments = cut(play)
    x = COLUMNS["effector_position"].start
    for trajectory, length, (start, stop) in zip(segments.trajectories, segments.lengths, segments.rows, strict=True):
        rows = denormalise(trajectory)[:, x] - SCENE_CENTRE[0]
        after = (start + torch.arange(HORIZON)).clamp(max=stop) / 100 / POSITION_SCALE
        torch.testing.assert_close(rows, after.float(), atol=1e-5, rtol=0)
        assert length == stop - start


def test_labels_are_the_quadrants_of_both_ends() -> None:
    play, _ = made_up([CYCLE] * 4, tail=30)
    segments = cut(play)
    quadrants = quadrant_of(PLACES)
    np.testing.assert_array_equal(segments.labels, np.stack([quadrants, np.roll(quadrants, -1)], axis=1))
    assert segments.labels.dtype == torch.int64


def test_what_is_dropped_and_why() -> None:
    near = PLACES.copy()
    near[1] = [SCENE_CENTRE[0] + 0.004, 0.2]
    play, _ = made_up([CYCLE] * 4, tail=30, places=near)
    counts = cut(play, border_margin=0.01).counts
    assert (counts["found"], counts["near a border"], counts["kept"]) == (4, 2, 2)
    assert cut(play, border_margin=0.003).counts["kept"] == 4
    slipped, _ = made_up([CYCLE, cycle(aloft=-20, after=20), CYCLE], tail=30)
    counts = cut(slipped).counts
    assert (counts["found"], counts["slipped"], counts["kept"]) == (3, 1, 2)


@pytest.mark.parametrize("end", [0, 1])
def test_both_ends_are_held_against_the_border(end: int) -> None:
    places = PLACES.copy()
    places[end] = [SCENE_CENTRE[0] + 0.004, 0.2]
    play, _ = made_up([CYCLE], tail=30, places=places)
    assert cut(play, border_margin=0.003).counts["kept"] == 1
    with pytest.raises(ValueError, match="'near a border': 1"):
        cut(play, border_margin=0.005)


@pytest.mark.parametrize(
    ("height", "slide", "dropped"),
    [
        (0.006, 0.0, 2),
        (0.0, 8e-4, 0),
        (0.0, 1.2e-3, 1),
    ],  # off the floor where the next one starts, too
)
def test_a_cube_that_does_not_rest_at_the_end_is_no_good(height: float, slide: float, dropped: int) -> None:
    """Higher than 5 mm above the floor, or faster than 2 cm/s, which is 1 mm a step."""
    play, _ = made_up([CYCLE] * 3, tail=30)
    end, cube = sum(CYCLE), STATE_SLICES["cube_position"]
    play.observations[end, cube.start + 2] += height * POSITION_SCALE
    play.observations[end, cube.start] += slide * POSITION_SCALE
    counts = cut(play).counts
    assert (counts["found"], counts["not at rest"], counts["kept"]) == (3, dropped, 3 - dropped)


def test_a_longer_segment_loses_its_end_where_the_cube_rests() -> None:
    play, _ = made_up([CYCLE] * 2, tail=30)
    shorter = sum(CYCLE) - 10
    segments = cut(play, horizon=shorter)
    assert segments.counts["cut short"] == 2
    assert (segments.lengths == shorter).all()
    with pytest.raises(ValueError, match="no segment is left"):
        cut(play, horizon=APPROACH_STEPS + 10)  # in the air by then


@pytest.mark.parametrize("horizon", [10, APPROACH_STEPS - 5, APPROACH_STEPS + 10, APPROACH_STEPS + 34])
def test_a_move_that_is_not_over_within_the_horizon_is_dropped_whether_begun_or_not(horizon: int) -> None:
    play, _ = made_up([CYCLE] * 3, tail=30)
    least = APPROACH_STEPS + 35 + 1  # the first row is in motion, being put down within a step
    with pytest.raises(ValueError, match=f"'not put down': 3.* task.horizon={horizon} rows; {least} are the least"):
        cut(play, horizon)
    assert cut(play, least).counts["kept"] == 3
    mixed, _ = made_up([CYCLE, cycle(aloft=-10), CYCLE], tail=30)
    counts = cut(mixed, least - 10).counts
    assert (counts["kept"], counts["not put down"]) == (1, 2)


def test_a_part_of_a_set() -> None:
    play, _ = made_up([CYCLE] * 3, tail=30)
    segments = cut(play)
    part = segments[torch.tensor([2, 0])]
    assert len(part) == 2
    torch.testing.assert_close(part.rows, segments.rows[[2, 0]])


@pytest.mark.parametrize("arguments", [{"horizon": 0}, {"border_margin": -0.1}, {"border_margin": float("nan")}])
def test_bad_arguments(arguments: dict[str, float]) -> None:
    play, _ = made_up([CYCLE], tail=30)
    with pytest.raises(ValueError, match="cannot cut"):
        cut(play, **arguments)  # type: ignore[arg-type]


def test_no_segment_is_an_error() -> None:
    play, _ = made_up([(100, 0, 0)])
    assert find_segments(play).shape == (0, 2)
    with pytest.raises(ValueError, match=r"collect\.py"):
        cut(play)


def test_what_the_end_of_an_episode_cuts_off_is_counted_and_said() -> None:
    short, _ = made_up([cycle(after=-10)])
    play = PlayData(*(np.concatenate([getattr(short, f)] * 3) for f in ("observations", "actions", "terminals")))
    with pytest.raises(
        ValueError, match=r"in 3 of 3 pick-and-places the episode ends before 23 rows .*record a little"
    ):
        cut(play)
    play, _ = made_up([CYCLE, CYCLE, cycle(after=-10)])
    counts = cut(play).counts
    assert (counts["found"], counts["kept"], counts["ended early"]) == (2, 2, 1)


def test_a_real_episode_agrees_with_the_oracle() -> None:
    """Three plans of OGBench's oracle; on 5,500 of them see the module's docstring."""
    episode = collect_episode(seed=0, episode=3, steps=290)
    play = PlayData(episode["observations"], episode["actions"], episode["terminals"])
    segments = find_segments(play)
    result = agreement(play, segments, episode["oracle_starts"])
    assert (result.plans, result.found, result.spurious) == (3, 3, 0)
    lengths = segments[:, 1] - segments[:, 0]
    assert (lengths >= 86).all()
    assert (lengths <= 90).all()
    assert cut(play, border_margin=0.0).counts["kept"] == 3
