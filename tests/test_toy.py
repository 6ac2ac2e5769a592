"""The scripts of the toy and of communication: tiny runs from start to end, one clear error a bad input."""

import json
import subprocess
import sys
from pathlib import Path
from subprocess import CompletedProcess
from types import ModuleType

import pytest
from hydra import compose, initialize_config_module
from omegaconf import OmegaConf

from dcfm.methods import registry
from tests.commands import REPOSITORY, run_script, script_module

TINY = (
    "samples=40",
    "draws=30",
    "steps=3",
    "training.width=16",
    "training.stage_one.steps=3",
    "training.peers.steps=3",
    "training.student.steps=3",
    "training.fedavg.steps=1",
    "training.fedavg_rounds=2",
    "training.pooled.steps=3",
)


def run(*overrides: str, script: str = "toy") -> CompletedProcess[str]:
    return run_script(f"scripts/{script}.py", *overrides)


def load(name: str) -> ModuleType:
    return script_module(f"scripts/{name}.py")


@pytest.fixture(scope="module")
def script() -> ModuleType:
    return load("toy")


def configured(name: str, *overrides: str):
    with initialize_config_module("dcfm_configs", version_base="1.3"):
        return compose(name, overrides=list(overrides))


def test_an_error_of_the_script_s_own_is_not_called_somebody_elses() -> None:
    """However the script is named on the command line."""
    for script in ("scripts/toy.py", str(REPOSITORY / "scripts/toy.py")):
        done = subprocess.run([sys.executable, script, "methods=3"], cwd=REPOSITORY, capture_output=True, text=True)
        assert done.stderr.startswith("error: methods=3")
        assert "raised in" not in done.stderr


def test_the_documented_command_writes_what_it_promises(script: ModuleType, tmp_path: Path) -> None:
    asked = ["partition=noniid", "attributes=3", "silos=3", "distance=1.5", "std=0.4", "seed=7"]
    asked.append("methods=[ddm_l,dcfm_a,dcfm_b]")
    done = run(*asked, f"out={tmp_path}", "workers=1", *TINY)
    assert done.returncode == 0, done.stderr
    values = json.loads((tmp_path / "metrics.json").read_text())
    assert values["command"].startswith("python scripts/toy.py partition=noniid")
    (cell,) = values["runs"]
    assert (cell["partition"], cell["seed"]) == ("noniid", 7)
    assert set(cell["silos"]) == {"silo0", "silo1", "silo2"}
    assert set(cell["methods"]) == {"ddm_l", "dcfm_a", "dcfm_b"}
    for record in cell["methods"].values():
        labels = ["-".join(map(str, r["label"])) for r in record["combinations"]]
        assert len(labels) == 8
        assert [label for label, r in zip(labels, record["combinations"], strict=True) if not r["known"]] == cell[
            "novel"
        ]
        for r in record["combinations"]:
            assert 0 <= r["low"] <= r["share"] == r["k"] / r["n"] <= r["high"] <= 1
            assert r["n"] == 30
    assert len(cell["novel"]) == 2
    chosen = json.loads((tmp_path / "selection.json").read_text())["noniid/seed7"]
    assert set(chosen) == set(cell["methods"])
    assert "silo0" in done.stdout
    assert (tmp_path / "table.md").read_text() in done.stdout + "\n"
    assert (tmp_path / "samples.png").stat().st_size > 1000
    with pytest.raises(ValueError, match=r"other settings \(problem.distance\)"):
        script.run(configured("toy", *asked, "distance=2", f"out={tmp_path}", "workers=0", *TINY))


def test_defaults(script: ModuleType) -> None:
    cells, methods, workers, out = script.read_settings(configured("toy"))
    assert [cell.name for cell in cells] == ["iid/seed0", "noniid/seed0"]
    assert (cells[0].problem.attributes, cells[0].problem.silos) == (2, 2)
    assert (cells[0].problem.distance, cells[0].problem.std) == (1.5, 0.4)
    assert tuple(methods) == registry.names()
    assert (workers, out) == (2, Path("runs/toy"))
    several, *_ = script.read_settings(configured("toy", "seeds=[0,1,2]", "partition=[dirichlet]"))
    assert [cell.name for cell in several] == ["dirichlet/seed0", "dirichlet/seed1", "dirichlet/seed2"]


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("attributes=6", "2 to 5"),
        ("attributes=two", "see configs/toy.yaml"),
        ("std=0", "std=0"),
        ("distance=-1", "distance=-1"),
        ("silos=0", "silos=0"),
        ("partition=non-iid", "iid, noniid, dirichlet"),
        ("missing=2", "0 to 1 can be"),
        ("methods=dcfm_a", "give all, or a list"),
        ("methods=[dcfm_c]", "unknown method 'dcfm_c'"),
        ("methods=[]", "no methods"),
        ("seeds=[1,1]", "none twice"),
        ("workers=-1", "workers=-1"),
        ("draws=0", "draws=0"),
        ("samples=1", "give more samples"),
        ("+tuned.ddm=3", "tuned="),
        ("+tuned.ddm.steps=3", "unknown key training.steps"),
        ("+method_settings.dfd.size=3", "dfd.yaml, cannot be made with"),
        ("training.student.weight=-1", "must not be negative"),
        ("training.student.labels=mine", "labels are 'own', 'global' or 'held'"),
    ],
)
def test_bad_input_is_an_error_before_any_work(script: ModuleType, override: str, message: str, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=message):
        script.run(configured("toy", override, f"out={tmp_path / 'out'}"))
    assert not (tmp_path / "out").exists()


def test_selection_and_ablation(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    config = configured("toy_select", f"out={tmp_path / 'select'}", "workers=0", *TINY[1:])
    config.problems = [{"attributes": 3, "silos": 2, "withheld": 1, "samples": 20}]
    candidates = {"dcfm_b": {"a": {}, "b": {"training": {"student": {"weight": 2.0}}}}}
    OmegaConf.update(config, "candidates", candidates, merge=False, force_add=True)
    load("toy_select").run(config)
    chosen = json.loads((tmp_path / "select/selection.json").read_text())
    assert set(chosen["methods"]["dcfm_b"]["tried"]) == {"a", "b"}
    assert chosen["methods"]["dcfm_b"]["chosen"] in {"a", "b"}

    config = configured("toy_ablation", f"out={tmp_path / 'ablation'}", "partition=iid", "workers=0", *TINY[1:])
    config.seeds = [0, 1]
    factors = {"lambda": {v: {"dcfm_b": {"student": {"weight": float(v)}}} for v in ("0", "1")}}
    OmegaConf.update(config, "factors", factors, merge=False, force_add=True)
    OmegaConf.update(config, "problem", {"attributes": 3, "silos": 2, "samples": 20}, merge=False, force_add=True)
    load("toy_ablation").run(config)
    ablation = json.loads((tmp_path / "ablation/ablation.json").read_text())
    assert [(row["factor"], row["value"]) for row in ablation["cells"]] == [("lambda", "0"), ("lambda", "1")]
    assert ablation["cells"][0]["novel"]["runs"] == 2
    assert (tmp_path / "ablation/ablation.png").stat().st_size > 1000
    assert "wrote" in capsys.readouterr().out


def test_an_ablation_has_something_novel_to_look_at() -> None:
    with pytest.raises(ValueError, match="leaves no novel combination"):
        load("toy_ablation").run(configured("toy_ablation", "problem.missing=0"))


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("+training.recipe=3", "unknown key training.recipe"),
        ("+training.stage_one.objective=3", "unknown key training.stage_one.objective"),
        ("training.batch=.inf", "give a whole number"),
        ("training.fedavg_continuous=3", "give true or false"),
        ("training.student.weight=.nan", "give a number"),
    ],
)
def test_training_settings_that_cannot_be(script: ModuleType, override: str, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        script.read_settings(configured("toy", override))


def test_communication(tmp_path: Path) -> None:
    small = ("rounds=[1,2]", "averaging=[fedflow_l]", "once=[dcfm_b]", "seeds=[0]", "steps=4", "workers=0")
    settings = [s for s in TINY if not s.startswith(("steps=", "training.fedavg"))]
    done = run(*small, "solver_steps=2", f"out={tmp_path}", *settings, script="communication")
    assert done.returncode == 0, done.stderr
    found = json.loads((tmp_path / "communication.json").read_text())
    assert found["command"].startswith("python scripts/communication.py 'rounds=[1,2]'")
    assert [(p["method"], p["rounds"], p["models"]) for p in found["points"]] == [
        ("dcfm_b", None, 2),
        ("fedflow_l", 1, 2),
        ("fedflow_l", 2, 4),
    ]
    assert (tmp_path / "table.md").read_text() in done.stdout
    assert (tmp_path / "communication.png").stat().st_size > 1000
    for override, message in (("rounds=[9]", "give numbers from 1 to steps=4"), ("+tuned.ddm=3", "by name")):
        wrong = run(*small, override, f"out={tmp_path / 'other'}", script="communication")
        assert wrong.returncode == 2
        assert message in wrong.stderr
        assert len(wrong.stderr.splitlines()) == 1
    assert not (tmp_path / "other").exists()


def test_many_silos(tmp_path: Path) -> None:
    small = ("silos=[2,3]", "methods=[dcfm_b]", "seeds=[0]", "workers=0", "solver_steps=2")
    settings = [s for s in TINY if not s.startswith("steps=")]
    done = run(*small, f"out={tmp_path}", *settings, script="many_silos")
    assert done.returncode == 0, done.stderr
    found = json.loads((tmp_path / "many_silos.json").read_text())
    assert found["command"].startswith("python scripts/many_silos.py 'silos=[2,3]'")
    assert [(p["method"], p["silos"], p["models"]) for p in found["points"]] == [("dcfm_b", 2, 2), ("dcfm_b", 3, 2)]
    assert (tmp_path / "table.md").read_text() in done.stdout
    assert (tmp_path / "many_silos.png").stat().st_size > 1000
    for override, message in (("silos=[]", "give at least one of each"), ("silos=[0]", "silos=0")):
        wrong = run(*small, override, f"out={tmp_path / 'other'}", script="many_silos")
        assert wrong.returncode == 2
        assert message in wrong.stderr
        assert len(wrong.stderr.splitlines()) == 1
