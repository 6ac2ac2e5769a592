"""scripts/plan_eval.py: a short run writes all its files; bad input is one line and leaves no metrics."""

import csv
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).parents[1]
ENVIRONMENT = dict(os.environ, MUJOCO_GL="disable", OMP_NUM_THREADS="1")

BAD = {
    "partition=foo": "unknown partition 'foo'",
    "method=bar": "unknown method 'bar'",
    "protocol=x": "unknown protocol 'x'",
    "weights=/nowhere": "'/nowhere' is neither a folder nor a shipped planner",
    "trials=0": "trials=0",
    "trials=many": "see configs/plan_eval.yaml",
    "device=tpu": "device 'tpu' cannot be used",
    "controls=[luck]": "unknown controls 'luck'",
    "solver=magic": "magic",
}

# Importing torch takes seconds, so one process imports it and the script runs once an argument in a fork of its own.
RUN_EACH = """
import os, runpy, sys, traceback
import dcfm_planner.evaluation.report
for number, override in enumerate(sys.argv[2:]):
    child = os.fork()
    if child == 0:
        folder = os.path.join(sys.argv[1], str(number))
        os.dup2(os.open(folder + ".err", os.O_WRONLY | os.O_CREAT), 2)
        sys.argv = ["scripts/plan_eval.py", override, "workers=0", "out=" + folder]
        status = 0
        try:
            runpy.run_path(sys.argv[0], run_name="__main__")
        except SystemExit as stop:
            status = stop.code if isinstance(stop.code, int) else 1
            if isinstance(stop.code, str):
                print(stop.code, file=sys.stderr)
        except BaseException:
            status = 70
            traceback.print_exc()
        sys.stderr.flush()
        os._exit(status)
    print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), flush=True)
"""


@pytest.fixture(scope="module")
def refusals(tmp_path_factory: pytest.TempPathFactory) -> dict[str, tuple[int, str, Path]]:
    """Exit status, standard error and out folder of each bad input."""
    folder = tmp_path_factory.mktemp("refused")
    command = [sys.executable, "-c", RUN_EACH, str(folder), *BAD]
    done = subprocess.run(command, cwd=REPOSITORY, env=ENVIRONMENT, capture_output=True, text=True, timeout=280)
    assert done.returncode == 0, done.stderr
    codes = [int(line) for line in done.stdout.split()]
    return {
        override: (code, (folder / f"{i}.err").read_text(), folder / str(i))
        for i, (override, code) in enumerate(zip(BAD, codes, strict=True))
    }


@pytest.mark.parametrize("override", BAD)
def test_bad_input_is_one_line_and_no_metrics(refusals: dict[str, tuple[int, str, Path]], override: str) -> None:
    code, said, out = refusals[override]
    assert code not in (0, 70), said
    assert "Traceback" not in said
    errors = [line for line in said.splitlines() if line.startswith("error: ")]
    assert len(errors) == 1, said
    assert BAD[override] in errors[0]
    assert said.splitlines()[-1] == errors[0]
    assert not (out / "metrics.json").exists()


def test_a_short_run_writes_all_its_files(tmp_path: Path) -> None:
    out = tmp_path / "out"
    words = ["trials=2", "workers=1", "max_steps=5", "device=cpu", f"out={out}"]
    command = [sys.executable, "scripts/plan_eval.py", *words]
    done = subprocess.run(command, cwd=REPOSITORY, env=ENVIRONMENT, capture_output=True, text=True, timeout=280)
    assert done.returncode == 0, done.stderr
    assert {p.name for p in out.iterdir()} == {"metrics.json", "trials.csv", "paths.png", "table.txt", "config.yaml"}
    values = json.loads((out / "metrics.json").read_text())
    assert (values["method"], values["partition"], values["protocol"], values["seed"]) == (
        "dcfm_b",
        "noniid",
        "paper",
        0,
    )
    assert values["command"] == " ".join(["python", "scripts/plan_eval.py", *words])
    for cell in ("known", "novel"):
        solved = values[cell]["solved_at_start"]["n"]
        assert values[cell]["success"]["n"] + solved == 2
    table = (out / "table.txt").read_text()
    assert table.strip() in done.stdout
    rows = list(csv.DictReader((out / "trials.csv").open()))
    assert [(row["cell"], row["index"]) for row in rows] == [(c, i) for c in ("known", "novel") for i in "01"]
    assert (out / "paths.png").read_bytes().startswith(b"\x89PNG")
    assert "max_steps: 5" in (out / "config.yaml").read_text()
