"""scripts/xray: the autoencoder and a model are trained, judged and tabled by command; bad input is one clear error."""

import json
from pathlib import Path
from subprocess import CompletedProcess

from tests.commands import run_script

TRAIN = [
    "images=1500",
    "test_share=0.4",
    "silos=2",
    "partition=iid",
    "workers=1",
    "device=cpu",
    "methods=[dcfm_b]",
    "task.size=32",
    "task.latent=2",
    "task.channels=[8]",
    "task.condition=8",
    "task.heads=1",
    "stage_one.loop.steps=2",
    "stage_one.loop.batch=8",
    "student.loop.steps=2",
    "student.replay.paths=4",
    "student.replay.steps=2",
]
JUDGE = ["each=4", "held_out=0.25", "rules=[joint]", "evaluations=2", "draws=5", "width=8", "steps=2", "device=cpu"]


def run(script: str, *overrides: str) -> CompletedProcess[str]:
    return run_script(f"scripts/xray/{script}.py", *overrides)


def test_autoencoder_training_judging_and_table(tmp_path: Path) -> None:
    small = ["size=32", "latent=2", "channels=[8,8,16]", "images=40", "steps=2", "batch=8", "measured=4", "contrasts=2"]
    done = run("train_autoencoder", *small, f"out={tmp_path / 'autoencoder'}")
    assert done.returncode == 0, done.stderr
    assert "Nodule: contrast kept" in done.stdout
    assert json.loads((tmp_path / "autoencoder" / "artefact.json").read_text())["metrics"]["error"]["n"] == 4
    assert 'load_autoencoder(Path("FOLDER"))' in (tmp_path / "autoencoder" / "README.md").read_text()
    training = tmp_path / "runs" / "iid" / "seed0"
    done = run("train", *TRAIN, f"autoencoder={tmp_path / 'autoencoder'}", f"out={training}")
    assert done.returncode == 0, done.stderr
    assert "not for diagnosis" in done.stdout
    assert "of 54 feasible label sets are in no silo" in done.stdout
    done = run("evaluate", f"model={training / 'published' / 'dcfm_b'}", f"out={tmp_path / 'results'}", *JUDGE)
    assert done.returncode == 0, done.stderr
    assert "not for diagnosis" in done.stdout
    assert "novel U" in done.stdout
    assert json.loads((tmp_path / "results" / "metrics.json").read_text())["method"] == "dcfm_b"
    table = ["methods=[ddm_l,dcfm_b]", "partitions=[iid]", f"runs={tmp_path / 'runs'}", *JUDGE]
    done = run("table", *table, "train=false", "evaluate=false")
    assert done.returncode == 0, done.stderr
    assert "| DCFM-B" in done.stdout


def test_the_memory_of_the_cache_is_measured_once(tmp_path: Path) -> None:
    words = ["rows=[20,30]", "shard=10", "workers=0", f"out={tmp_path / 'out'}"]
    done = run("measure_cache", *words)
    assert done.returncode == 0, done.stderr
    found = json.loads((tmp_path / "out" / "cache.json").read_text())
    assert [entry["rows"] for entry in found["measured"]] == [20, 30]
    assert 50 < found["before_mib"] <= found["measured"][0]["peak_mib"] <= found["measured"][1]["peak_mib"] < 3000
    done = run("measure_cache", *words)
    assert "error: " in done.stderr
    assert "caches of [20, 30] rows already" in done.stderr


def test_bad_input_is_one_line_and_writes_nothing(tmp_path: Path) -> None:
    for script, word, message in (
        ("train", "source=mri", "error: unknown source 'mri'"),
        ("train_autoencoder", "size=30", "error: size=30 must be a multiple of 8"),
        ("train", "images=0", "error: 0 phantoms, 3.64 a patient; give at least one of each (images="),
        ("evaluate", "each=1", "error: each=1 must be at least 2"),
        ("evaluate", "classifier_batch=0", "error: steps=900, classifier_batch=0: give at least 1 of each"),
        ("evaluate", f"model={tmp_path / 'out' / 'dcfm_c'}", "error: there is no artefact folder"),
        ("table", "methods=[dcfm_c]", "error: unknown methods 'dcfm_c'"),
        ("measure_cache", "rows=[2,1]", "error: rows=[2, 1]"),
    ):
        done = run(script, word, f"out={tmp_path / 'out'}")
        assert done.returncode != 0
        assert message in done.stderr
        assert "Traceback" not in done.stderr
    assert not list(tmp_path.iterdir())
