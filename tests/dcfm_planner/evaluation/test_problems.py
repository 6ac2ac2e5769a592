"""Problems are spread evenly, seeded, prefixes of one another; the shipped file keeps its margins and its hash."""

import json
from pathlib import Path

import numpy as np
import pytest

from dcfm_planner.evaluation import problems
from dcfm_planner.evaluation.problems import (
    BORDER_MARGIN,
    CELLS,
    GIVEN_TRIALS,
    MIN_DISTANCE,
    ProblemError,
    draw_given,
    make_problems,
    pair_kind,
    read_given,
    write_given,
)
from dcfm_planner.quadrants import border_distance, pair_labels, quadrant_index, quadrant_of


@pytest.mark.parametrize("trials", [1, 12, 100])
def test_spread_evenly_over_the_pairs(trials: int) -> None:
    for cell, asked in make_problems("paper", trials, 0).items():
        assert len(asked) == trials
        pairs, counts = np.unique(asked.labels, axis=0, return_counts=True)
        assert len(pairs) == min(trials, len(CELLS[cell]))
        assert counts.max() - counts.min() <= 1
        assert asked.starts is None


def test_seeds() -> None:
    first, same, other = (make_problems("paper", 50, seed) for seed in (3, 3, 4))
    np.testing.assert_array_equal(first["known"].noise_seed, same["known"].noise_seed)
    everything = np.concatenate([p.noise_seed for cells in (first, other) for p in cells.values()])
    assert len(set(everything.tolist())) == 200
    # the execution's noise comes from the odd seed after the plan's even one
    assert (everything % 2 == 0).all()


def test_fewer_trials_are_the_first_of_more() -> None:
    few, many = (make_problems("given", trials, 0)["novel"] for trials in (7, 40))
    np.testing.assert_array_equal(few.labels, many.labels[:7])
    np.testing.assert_array_equal(few.noise_seed, many.noise_seed[:7])
    assert few.starts is not None
    assert many.starts is not None
    np.testing.assert_array_equal(few.starts.cube_position, many.starts.cube_position[:7])


def test_chunks_are_the_whole_in_order() -> None:
    whole = make_problems("given", 10, 0)["known"]
    chunks = whole.chunks(4)
    assert [len(chunk) for chunk in chunks] == [4, 4, 2]
    np.testing.assert_array_equal(np.concatenate([chunk.index for chunk in chunks]), np.arange(10))
    assert whole.starts is not None
    last = chunks[-1].starts
    assert last is not None
    np.testing.assert_array_equal(last.goal_position, whole.starts.goal_position[8:])


@pytest.mark.parametrize("cell", list(CELLS))
def test_the_shipped_file_keeps_its_margins(cell: str) -> None:
    starts = read_given()[cell]
    assert len(starts) == GIVEN_TRIALS >= 300
    ends = np.stack([starts.cube_position, starts.goal_position], axis=1)
    np.testing.assert_array_equal(quadrant_of(ends), np.resize(pair_labels(CELLS[cell]), (GIVEN_TRIALS, 2)))
    assert border_distance(ends).min() >= BORDER_MARGIN
    assert np.linalg.norm(ends[:, 0] - ends[:, 1], axis=1).min() >= MIN_DISTANCE


def test_the_shipped_file_is_what_its_seed_draws() -> None:
    drawn, read = draw_given(GIVEN_TRIALS, 0), read_given()
    for cell in CELLS:
        np.testing.assert_array_equal(drawn[cell].cube_position, read[cell].cube_position)
        np.testing.assert_array_equal(drawn[cell].effector_yaw, read[cell].effector_yaw)


def test_kinds_of_pairs() -> None:
    index = quadrant_index
    assert pair_kind(index("TL"), index("TL")) == "same"
    assert pair_kind(index("TL"), index("BL")) == "adjacent"
    assert pair_kind(index("TL"), index("BR")) == "diagonal"
    kinds = [pair_kind(*row) for row in pair_labels(CELLS["known"]).tolist()]
    assert (kinds.count("same"), kinds.count("adjacent")) == (4, 8)


def test_a_changed_or_damaged_file_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "given.json"
    with pytest.raises(ProblemError, match="there is no file"):
        read_given(path)
    write_given(path, trials=12, seed=1)
    assert len(read_given(path)["known"]) == 12
    text = path.read_text()
    path.write_text(text[: len(text) // 2])
    with pytest.raises(ProblemError, match="is not a file of given problems"):
        read_given(path)
    content = json.loads(text)
    content["problems"]["known"][3]["cube_yaw"] += 0.1
    path.write_text(json.dumps(content))
    with pytest.raises(ProblemError, match="was changed after it was written"):
        read_given(path)


@pytest.mark.parametrize(("margin", "trials", "seed"), [("MIN_DISTANCE", 48, 0), ("BORDER_MARGIN", 12, 2)])
def test_a_file_that_was_written_with_other_margins_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, margin: str, trials: int, seed: int
) -> None:
    """Its hash is right, and most of its problems are; of no problem are both ends near a border."""
    with monkeypatch.context() as other:
        other.setattr(problems, margin, 0.0)
        write_given(tmp_path / "given.json", trials=trials, seed=seed)
    with pytest.raises(ProblemError, match=r"problem \d+ breaks its own rules \(its pair, 0.02 m from borders, 0.08"):
        read_given(tmp_path / "given.json")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("papers", 1, 0), "unknown protocol 'papers'; the protocols are paper, given"),
        (("paper", 0, 0), "trials=0"),
        (("paper", 1, -1), "seed=-1"),
        (("given", 301, 0), "has 300 a cell; ask for no more"),
    ],
)
def test_what_cannot_be_is_refused(arguments: tuple[str, int, int], message: str) -> None:
    with pytest.raises(ProblemError, match=message):
        make_problems(*arguments)
