"""Progress bars count what is done, from where a resumed training starts, and end."""

from dcfm.progress import TrainingBar
from dcfm_planner.progress import collection_bar


def test_a_training_that_resumes() -> None:
    bar = TrainingBar("stage1 robot0", 0)
    for done in (51, 52, 53):
        bar(done, 53, {"loss": 0.5})
    assert bar.bar is not None
    assert (bar.bar.n, bar.bar.total, bar.bar.disable) == (53, 53, True)


def test_a_collection(capsys) -> None:
    show = collection_bar(3)
    for done in (1, 3):
        show(done, 3)
    assert "3/3" in capsys.readouterr().err


def test_a_bar_shows_what_is_done_from_the_first_call_on(capsys) -> None:
    """Rounds of federated averaging can take an hour each."""
    bar = TrainingBar("fedflow", 0)
    bar(0, 2, {})
    assert "fedflow:   0%" in capsys.readouterr().err
    later = TrainingBar("fedflow", 0)
    later(1, 2, {})
    assert "1/2" in capsys.readouterr().err
    for one in (bar, later):
        one(2, 2, {})
        assert one.bar is not None
        assert one.bar.n == 2


def test_steps_that_are_told_after_a_round_are_drawn_to_the_last(capsys) -> None:
    bar = TrainingBar("dcfm_b_r", 0)
    bar(0, 600, {})
    capsys.readouterr()
    assert bar.bar is not None
    bar.bar.start_t -= 100.5  # the round took that long
    bar.bar.last_print_t -= 100.5
    for done in range(1, 201):
        bar(done, 600, {"loss": 0.5})
    assert "200/600" not in capsys.readouterr().err  # drawn every five seconds at most
    bar(200, 600, {})
    shown = capsys.readouterr().err
    assert "200/600" in shown
    assert "loss=0.5000" in shown
    assert "[01:40<03:2" in shown
