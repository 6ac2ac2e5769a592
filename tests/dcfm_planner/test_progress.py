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
