"""Which steps are shown, what is written below them, and how films stand side by side."""

import math

import numpy as np
import pytest

from dcfm_planner.evaluation.trials import Trial
from dcfm_planner.video.caption import GREEN, RED, WHITE
from dcfm_planner.video.film import frames_per_second, hold_ends, side_by_side, steps_shown, text
from dcfm_planner.video.recording import Recording


def recording(steps: int, *, success: bool = True, reasons: tuple[str, ...] = ()) -> Recording:
    qpos = np.zeros((steps + 1, 21))
    qpos[-1, 14:17] = [0.35, -0.1, 0.02]
    trial = Trial(
        *("planner", "novel", 0, "TL", "BR", "diagonal", 0, not reasons, reasons),
        success=success,
        goal=(0.35, -0.1),
        distance=0.0 if steps else math.nan,
    )
    return Recording("mine", trial, qpos, ())


def frames(number: int, value: int, size: tuple[int, int] = (4, 6)) -> list[np.ndarray]:
    return [np.full((*size, 3), value + i, dtype=np.uint8) for i in range(number)]


def test_films_play_in_real_time() -> None:
    assert frames_per_second(1) == pytest.approx(20)
    assert frames_per_second(4) == pytest.approx(5)
    with pytest.raises(ValueError, match="every=0"):
        frames_per_second(0)


@pytest.mark.parametrize(("steps", "every", "shown"), [(5, 2, [0, 2, 4, 5]), (4, 2, [0, 2, 4]), (0, 3, [0])])
def test_the_last_step_is_always_shown(steps: int, every: int, shown: list[int]) -> None:
    assert steps_shown(recording(steps), every) == shown


def test_captions_tell_query_feasibility_and_success() -> None:
    def said(film: Recording, step: int) -> str:
        return "\n".join("".join(piece for piece, _ in line) for line in text(film, step))

    good = recording(4)
    assert "TL to BR (novel)" in said(good, 0)
    assert "plan feasible" in said(good, 0)
    assert "36.5 cm from the goal" in said(good, 0)
    assert said(good, 4).count("success") == 1
    assert text(good, 0)[2][0][1] == WHITE
    assert text(good, 4)[2][0][1] == GREEN
    bad = recording(4, success=False)
    assert "no success" in said(bad, 4)
    assert text(bad, 4)[2][0][1] == RED
    never = recording(0, reasons=("the cube ends in TL; BR was asked for",))
    assert "plan infeasible: the cube ends in TL" in said(never, 0)
    assert "not executed" in said(never, 0)


def test_ends_are_held_for_a_second() -> None:
    held = hold_ends(frames(3, 10), every=4)
    assert [int(frame[0, 0, 0]) for frame in held] == [10] * 6 + [11] + [12] * 6


def test_side_by_side() -> None:
    joined = side_by_side([frames(2, 10), frames(3, 20), frames(1, 30)], columns=2)
    assert len(joined) == 3
    assert joined[0].shape == (8, 12, 3)
    corners = [(0, 0), (0, 6), (4, 0), (4, 6)]
    assert [int(joined[2][y, x, 0]) for y, x in corners] == [11, 22, 30, 0]
    assert side_by_side([frames(1, 5)], columns=4)[0].shape == (4, 6, 3)
    with pytest.raises(ValueError, match="0 films"):
        side_by_side([], 2)
