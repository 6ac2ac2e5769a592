"""Problems: evenly spread, seeded, and, where given, apart from one another and from borders, under their own hash."""

import json
from collections import Counter
from pathlib import Path

import numpy as np
import pytest

from dcfm_planner.evaluation.problems import (
    BORDER_MARGIN,
    CELLS,
    GIVEN_TRIALS,
    MIN_DISTANCE,
    ProblemError,
    make_problems,
    pair_kind,
    read_given,
    write_given,
)
from dcfm_planner.quadrants import KNOWN_PAIRS, NOVEL_PAIRS, QUADRANTS, border_distance, quadrant_of

EPSILON = 1e-9


@pytest.mark.parametrize("protocol", ["paper", "given"])
@pytest.mark.parametrize("trials", [24, 30])
def test_pairs_of_a_cell_are_spread_evenly(protocol: str, trials: int) -> None:
    problems = make_problems(protocol, trials, 0)
    assert list(problems) == ["known", "novel"]
    for cell, pairs in CELLS.items():
        assert len(problems[cell]) == trials
        counts = Counter((QUADRANTS[s], QUADRANTS[t]) for s, t in problems[cell].labels)
        assert set(counts) == set(pairs)
        assert max(counts.values()) - min(counts.values()) <= 1


def test_equal_seeds_give_equal_problems_and_no_noise_twice() -> None:
    first, again, other = make_problems("paper", 40, 3), make_problems("paper", 40, 3), make_problems("paper", 40, 4)
    seeds = []
    for cell in CELLS:
        assert first[cell].starts is None
        np.testing.assert_array_equal(first[cell].noise_seed, again[cell].noise_seed)
        np.testing.assert_array_equal(first[cell].labels, other[cell].labels)
        seeds += [*first[cell].noise_seed, *other[cell].noise_seed]
    assert len(set(seeds)) == len(seeds)
    assert not np.any(np.array(seeds) % 2)  # the odd seed after each is the execution's


@pytest.mark.parametrize("protocol", ["paper", "given"])
def test_fewer_trials_are_a_part_of_more(protocol: str) -> None:
    few, many = make_problems(protocol, 7, 0), make_problems(protocol, 20, 0)
    for cell in CELLS:
        np.testing.assert_array_equal(few[cell].noise_seed, many[cell].noise_seed[:7])
        np.testing.assert_array_equal(few[cell].labels, many[cell].labels[:7])


def test_chunks_are_consecutive_and_complete() -> None:
    cell = make_problems("given", 10, 0)["novel"]
    chunks = cell.chunks(4)
    assert [len(chunk) for chunk in chunks] == [4, 4, 2]
    assert {chunk.cell for chunk in chunks} == {"novel"}
    np.testing.assert_array_equal(np.concatenate([chunk.index for chunk in chunks]), np.arange(10))
    np.testing.assert_array_equal(np.concatenate([chunk.noise_seed for chunk in chunks]), cell.noise_seed)
    assert cell.starts is not None
    goals = [chunk.starts.goal_position for chunk in chunks if chunk.starts is not None]
    np.testing.assert_array_equal(np.concatenate(goals), cell.starts.goal_position)


def test_given_problems_keep_their_margins_and_their_pairs() -> None:
    problems = make_problems("given", GIVEN_TRIALS, 0)
    for cell in CELLS:
        starts = problems[cell].starts
        assert starts is not None
        ends = np.stack([starts.cube_position, starts.goal_position], axis=1)
        assert border_distance(ends).min() >= 0.02 - EPSILON
        assert np.linalg.norm(ends[:, 0] - ends[:, 1], axis=1).min() >= 0.08 - EPSILON
        np.testing.assert_array_equal(quadrant_of(ends), problems[cell].labels)
    assert (BORDER_MARGIN, MIN_DISTANCE) == (0.02, 0.08)


def test_a_seed_changes_nothing_but_the_noise_of_given_problems() -> None:
    first, other = make_problems("given", 5, 0)["known"], make_problems("given", 5, 1)["known"]
    assert first.starts is not None
    assert other.starts is not None
    np.testing.assert_array_equal(first.starts.cube_position, other.starts.cube_position)
    assert set(first.noise_seed).isdisjoint(other.noise_seed)


def test_a_file_that_was_written_can_be_read_and_the_shipped_one_was_written_so(tmp_path: Path) -> None:
    write_given(tmp_path / "problems.json", 13, seed=5)
    own = make_problems("given", 13, 0, tmp_path / "problems.json")
    assert len(own["novel"]) == 13
    write_given(tmp_path / "first.json", 12)  # draws the ends of the shipped file's first known problems
    first, shipped = read_given(tmp_path / "first.json")["known"], read_given()["known"]
    np.testing.assert_array_equal(first.cube_position, shipped.cube_position[:12])
    np.testing.assert_array_equal(first.goal_position, shipped.goal_position[:12])
    assert [path.name for path in tmp_path.iterdir() if path.suffix != ".json"] == []


def test_a_tampered_file_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "problems.json"
    write_given(path, 12, seed=5)
    content = json.loads(path.read_text())
    content["problems"]["novel"][0]["goal_position"][0] += 0.001
    path.write_text(json.dumps(content))
    with pytest.raises(ProblemError, match="was changed after it was written: its hash differs"):
        make_problems("given", 2, 0, path)


@pytest.mark.parametrize("text", ["", "{", "[]", "{}", '{"problems": {}}'])
def test_what_is_not_a_file_of_problems_is_refused(tmp_path: Path, text: str) -> None:
    path = tmp_path / "problems.json"
    path.write_text(text)
    with pytest.raises(ProblemError, match="is not a file of given problems"):
        read_given(path)


def test_a_missing_file_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ProblemError, match="there is no file of given problems"):
        read_given(tmp_path / "nowhere.json")


@pytest.mark.parametrize(
    ("protocol", "trials", "seed", "message"),
    [
        ("foo", 4, 0, "unknown protocol 'foo'; the protocols are paper, given"),
        ("paper", 0, 0, "trials=0, seed=0: give at least 1 trial"),
        ("paper", 4, -1, "seed=-1"),
        ("given", GIVEN_TRIALS + 1, 0, f"has {GIVEN_TRIALS} a cell; ask for no more"),
    ],
)
def test_what_cannot_be_asked_for_is_refused(protocol: str, trials: int, seed: int, message: str) -> None:
    with pytest.raises(ProblemError, match=message):
        make_problems(protocol, trials, seed)


def test_known_pairs_are_in_the_same_quadrant_or_an_adjacent_one_and_novel_ones_diagonal() -> None:
    def kinds(pairs: tuple[tuple[str, str], ...]) -> Counter[str]:
        return Counter(pair_kind(QUADRANTS.index(s), QUADRANTS.index(t)) for s, t in pairs)

    assert kinds(KNOWN_PAIRS) == {"same": 4, "adjacent": 8}
    assert kinds(NOVEL_PAIRS) == {"diagonal": 4}
