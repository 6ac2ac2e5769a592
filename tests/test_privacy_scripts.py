"""scripts/audit.py, privacy_curve.py, scale.py: tiny runs from start to end, resumed, one clear error a bad input."""

import json
from pathlib import Path
from subprocess import CompletedProcess
from typing import Any

import pytest
from matplotlib.figure import Figure

from dcfm.artefacts import git_revision
from dcfm.toy import private, scale
from dcfm.toy.private import PrivateCell
from dcfm.toy.problem import ProblemSettings
from dcfm.toy.scale import ScaleCell
from dcfm.toy.scale_report import draw, own_share, table
from dcfm.toy.score import Sampling
from dcfm.toy.training import Phase, Training
from tests.commands import REPOSITORY, run_script

TINY = ("training.width=8", "training.stage_one.steps=2", "training.peers.steps=2", "training.student.steps=2")


def run(script: str, *overrides: str) -> CompletedProcess[str]:
    return run_script(f"scripts/{script}.py", *overrides)


def test_audit(tmp_path: Path) -> None:
    result = run("audit", "subject=toy", "toy.samples=30", "toy.heldout=30", "generated=30", f"out={tmp_path}", *TINY)
    assert result.returncode == 0, result.stderr
    found = json.loads((tmp_path / "audit.json").read_text())
    assert found["command"].startswith("python scripts/audit.py subject=toy")
    assert found["targets"][0]["membership"]["members"] == 90
    assert (tmp_path / "table.txt").read_text() in result.stdout
    few = ("toy.samples=30", "toy.heldout=30", "generated=30", "training.fedavg_rounds=2")
    factored = run("audit", "subject=toy", "toy.method=factored", *few, f"out={tmp_path / 'factored'}", *TINY)
    assert factored.returncode == 0, factored.stderr
    other = run("audit", "subject=toy", "toy.samples=31", f"out={tmp_path}", *TINY)
    assert other.returncode == 2
    assert "holds the results of other settings (" in other.stderr
    assert json.loads((tmp_path / "audit.json").read_text()) == found
    wrong = run("audit", "subject=toy", "toy.method=nothing", f"out={tmp_path / 'wrong'}")
    assert wrong.returncode == 2
    assert len(wrong.stderr.splitlines()) == 1


def test_each_subject_has_a_folder_of_its_own() -> None:
    for subject in ("toy", "toy_overfit"):
        assert f"out: runs/audit/{subject}\n" in run("audit", f"subject={subject}", "--cfg", "job", "--resolve").stdout


def test_privacy_curve(tmp_path: Path) -> None:
    small = ("training.fedavg.steps=1", "training.fedavg_rounds=2", "samples=100", "draws=20", "steps=2", *TINY)
    result = run("privacy_curve", "noises=[1]", "seeds=[0]", f"out={tmp_path}", *small)
    assert result.returncode == 0, result.stderr
    found = json.loads((tmp_path / "privacy.json").read_text())
    assert found["git_revision"] == git_revision()
    points = found["points"]
    assert [(p["method"], p["noise"]) for p in points] == [("dcfm_b", 1.0), ("fedflow_l", 1.0)]
    assert points[0]["epsilon"] > 0
    assert (tmp_path / "privacy.png").stat().st_size > 1000
    assert "| DCFM-B | 1 |" in (tmp_path / "table.md").read_text()


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ("seeds=[0,1,0]", "error: seeds=[0, 1, 0] names something twice; name each once"),
        ("methods=[dcfm_b,dcfm_b]", "error: methods=['dcfm_b', 'dcfm_b'] names something twice; name each once"),
        ("noises=[1,null,1.0]", "error: noises=[1, None, 1.0]: give at least one, each once"),
        ("noises=[]", "error: noises=[]: give at least one, each once"),
    ],
)
def test_a_training_given_twice_is_no_second_one(given: str, message: str, tmp_path: Path) -> None:
    """It would count as an independent training and make intervals too narrow."""
    wrong = run("privacy_curve", given, f"out={tmp_path / 'out'}")
    assert (wrong.returncode, wrong.stderr.splitlines()) == (2, [message])
    assert not (tmp_path / "out").exists()


def test_a_point_of_the_curve_is_a_mean_over_seeds() -> None:
    rows = [
        {"method": "dcfm_b", "noise": None, "seed": s, "epsilon": None, "known": 0.9, "novel": s / 4} for s in (1, 3)
    ]
    (point,) = private.summarise(rows)
    assert (point["epsilon"], point["seeds"]) == (None, [1, 3])
    assert point["novel"]["mean"] == 0.5
    assert (point["novel"]["low"], point["novel"]["high"]) == (0.0, 1.0)  # two seeds say little
    assert point["known"]["low"] == pytest.approx(0.9)
    assert private.summarise(rows[:1])[0]["novel"]["low"] is None


@pytest.fixture
def drawn(monkeypatch: pytest.MonkeyPatch) -> list[Figure]:
    """Figures that were written."""
    found: list[Figure] = []
    saved = Figure.savefig

    def keep(figure: Figure, *given: Any, **settings: Any) -> None:
        found.append(figure)
        saved(figure, *given, **settings)

    monkeypatch.setattr(Figure, "savefig", keep)
    return found


def test_what_is_dashed_is_in_the_legend(tmp_path: Path, drawn: list[Figure]) -> None:
    rows = [
        {"method": "dcfm_b", "noise": noise, "seed": 0, "epsilon": noise and 2.0, "known": 0.9, "novel": 0.5}
        for noise in (None, 1.0)
    ]
    for shown, expected in ((rows, ["DCFM-B", "without noise"]), (rows[1:], ["DCFM-B"])):
        private.draw(private.summarise(shown), tmp_path / "privacy.png")
        legend = drawn[-1].axes[0].get_legend()
        assert legend is not None
        assert [text.get_text() for text in legend.get_texts()] == expected


def test_seconds_of_the_scale_study_are_plain_numbers(tmp_path: Path, drawn: list[Figure]) -> None:
    draw(json.loads((REPOSITORY / "docs/results/scale/scale.json").read_text())["cells"], tmp_path / "scale.png")
    axis = drawn[0].axes[1].yaxis
    low, high = sorted(axis.get_view_interval())
    shown = [axis.get_major_formatter()(place) for place in axis.get_majorticklocs() if low <= place <= high]
    assert shown == ["1", "2", "5"]
    assert not any(axis.get_minor_formatter()(place) for place in axis.get_minorticklocs())


def test_a_scale_study_that_was_only_resumed_is_drawn(tmp_path: Path, drawn: list[Figure]) -> None:
    cells = json.loads((REPOSITORY / "docs/results/scale/scale.json").read_text())["cells"]
    draw([cell | {"cpu_seconds_a_silo": None} for cell in cells], tmp_path / "scale.png")
    assert len(drawn[0].axes[0].lines) > 1
    assert not any(len(line.get_xdata()) for line in drawn[0].axes[1].lines)  # type: ignore[arg-type]


def test_scale(tmp_path: Path) -> None:
    result = run(
        "scale", "silos=[2,4]", "peers=[1,null]", "samples=30", "draws=20", "steps=2", f"out={tmp_path}", *TINY
    )
    assert result.returncode == 0, result.stderr
    cells = json.loads((tmp_path / "scale.json").read_text())["cells"]
    assert [(c["silos"], c["peers"]) for c in cells] == [(2, 1), (2, None), (4, 1), (4, None)]
    assert [c["models_held"] for c in cells] == [2, 2, 2, 4]
    assert all(c["bytes_held"] == c["models_held"] * c["model_bytes"] for c in cells)
    assert cells[2]["bytes_a_silo"] < cells[3]["bytes_a_silo"]
    assert (tmp_path / "scale.png").stat().st_size > 1000
    wrong = run("scale", "silos=[0]", f"out={tmp_path / 'other'}", *TINY)
    assert wrong.returncode == 2
    assert not (tmp_path / "other").exists()
    wrong = run("scale", "silos=[2]", "peers=[null,few]", f"out={tmp_path / 'other'}", *TINY)
    assert wrong.returncode == 2
    assert wrong.stderr.splitlines()[-1] == "error: peers='few'; give whole numbers of 1 or more, or null for all"
    assert not (tmp_path / "other").exists()


TRAINING = Training(
    8, 1, 16, stage_one=Phase(steps=2, share=1.0), peers=Phase(steps=2), student=Phase(steps=2), fedavg_rounds=2
)


def test_finished_cells_are_read_and_others_refused(tmp_path: Path) -> None:
    cell = ScaleCell(4, 1, 0, 30, TRAINING, Sampling(20, 2))
    (first,) = scale.run([cell], tmp_path)
    assert own_share(first, "novel") is not None or not first["recovery"]["own_experts"]["shares"]
    assert scale.run([cell], tmp_path) == [first]
    cell.path(tmp_path).unlink()  # as if interrupted while it was scored: what is trained takes no time again
    (again,) = scale.run([cell], tmp_path)
    assert again == first | {"seconds_a_silo": None, "cpu_seconds_a_silo": None}
    assert "| 1 | 0 |" in table([again])
    draw([again, first], tmp_path / "scale.png")
    with pytest.raises(ValueError, match="of other settings"):
        scale.run([ScaleCell(4, 1, 0, 31, TRAINING, Sampling(20, 2))], tmp_path)
    problem = ProblemSettings(samples=100)
    private_cell = PrivateCell("dcfm_b", None, 1.0, 1e-5, problem, TRAINING, Sampling(20, 2))
    (first,) = private.run([private_cell], tmp_path / "p")
    assert private.run([private_cell], tmp_path / "p") == [first]
    record = private_cell.folder(tmp_path / "p") / "record.json"
    for damaged in ("{", "{}", "[]"):
        (tmp_path / "q" / record.parent.relative_to(tmp_path / "p")).mkdir(parents=True, exist_ok=True)
        (tmp_path / "q" / record.relative_to(tmp_path / "p")).write_text(damaged)
        with pytest.raises(ValueError, match=r"record\.json is damaged .*remove it"):
            private.run([private_cell], tmp_path / "q")
    with pytest.raises(ValueError, match="of other settings"):
        private.run([PrivateCell("dcfm_b", None, 1.0, 1e-5, problem, TRAINING, Sampling(21, 2))], tmp_path / "p")


def test_one_silo_has_nobody_to_ask(tmp_path: Path) -> None:
    (record,) = scale.run([ScaleCell(1, None, 0, 30, TRAINING, Sampling(20, 2))], tmp_path)
    assert (record["models_held"], record["bytes_held"]) == (1, record["model_bytes"])
    assert record["recovery"]["all_experts"]["known"]["n"] == 60
    draw([record], tmp_path / "scale.png")


def test_bad_settings_come_before_any_work(tmp_path: Path) -> None:
    def cell(method: str = "dcfm_b", samples: int = 100) -> PrivateCell:
        return PrivateCell(method, 1.0, 1.0, 1e-5, ProblemSettings(samples=samples), TRAINING, Sampling(20, 2))

    with pytest.raises(ValueError, match="no private training here"):
        cell("dcfm_a")
    with pytest.raises(ValueError, match="batch <= samples"):
        private.run([cell(samples=4)], tmp_path)
    with pytest.raises(ValueError, match="samples of a combination cannot be dealt"):
        scale.run([ScaleCell(4, None, 0, 1, TRAINING, Sampling(20, 2))], tmp_path)
    fine = ScaleCell(2, None, 0, 30, TRAINING, Sampling(20, 2))
    for silos in (4, 300):  # 300 are not dealt before their turn
        with pytest.raises(ValueError, match=f"cannot be dealt to {silos} silos"):
            scale.run([fine, ScaleCell(silos, None, 0, 1, TRAINING, Sampling(20, 2))], tmp_path)
    for peers in (0, -1):
        cells = [ScaleCell(4, p, 0, 30, TRAINING, Sampling(20, 2)) for p in (None, peers)]
        with pytest.raises(ValueError, match="peers"):
            scale.run(cells, tmp_path)
    assert not list(tmp_path.iterdir())
