"""The commands of the README and of docs/agents.md, and the code of every page, do what they say."""

import json
import os
import re
import shlex
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

REPOSITORY = Path(__file__).parents[1]
README = "\n".join((REPOSITORY / page).read_text() for page in ("README.md", "docs/agents.md"))
PAGES = [REPOSITORY / "README.md", *sorted(REPOSITORY.glob("docs/*.md"))]


def blocks(language: str, text: str = README) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", text, flags=re.DOTALL)


CODE = {
    f"{page.name}-{number}": block
    for page in PAGES
    for number, block in enumerate(blocks("python", page.read_text()), start=1)
}


def commands() -> list[str]:
    lines = [line.split("  #")[0].strip() for block in blocks("bash") for line in block.splitlines()]
    return [line for line in lines if line and not line.startswith("#")]


def run(arguments: list[str], folder: Path, timeout: float = 280) -> str:
    env = dict(os.environ, MUJOCO_GL="disable", OMP_NUM_THREADS="1")
    if any("record_video" in word or "RecordVideo" in word for word in arguments):
        del env["MUJOCO_GL"]  # these draw
    done = subprocess.run(arguments, cwd=folder, env=env, capture_output=True, text=True, timeout=timeout)
    if "mujoco cannot draw on this machine" in done.stderr:
        pytest.skip("no GL works on this machine")
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_every_command_is_one_that_exists() -> None:
    targets = set(re.findall(r"^([a-z-]+):", (REPOSITORY / "Makefile").read_text(), flags=re.MULTILINE))
    assert len(commands()) > 5
    for command in commands():
        words = shlex.split(command)
        if words[0] == "make":
            assert set(words[1:]) <= targets, command
        elif words[0] == "python":
            assert (REPOSITORY / words[1]).is_file(), command
        else:
            assert words[0] in ("git", "cd", "pip", "source"), command


SHORT = {
    "scripts/plan_eval.py": ["trials=2", "workers=1"],
    "scripts/benchmark_planner.py": ["repeats=1", "batch=2", "trials=1"],
    "scripts/collect.py": ["train=1", "val=0", "steps=120", "workers=1"],
    "scripts/ogbench_eval.py": ["episodes=1", "tasks=[4]"],
    "scripts/record_video.py": ["pairs=TL-BR", "max_steps=4", "every=4", "width=96", "height=64"],
    "scripts/cost.py": ["silos=[2]", "attributes=[2]", "curve_silos=[2]", "curve_attributes=[2]"],
    "scripts/toy.py": [
        *(
            "samples=40",
            "draws=20",
            "steps=2",
            "training.width=8",
            "training.fedavg.steps=1",
            "training.fedavg_rounds=2",
            "tuned.fedflow.fedavg_rounds=2",
        ),
        *(f"training.{stage}.steps=2" for stage in ("stage_one", "peers", "student", "pooled")),
    ],
}


@pytest.mark.parametrize("command", [c for c in commands() if c.startswith(tuple(f"python {s}" for s in SHORT))])
def test_commands_run(command: str, tmp_path: Path) -> None:
    """Each evaluation and collection of the README, with few trials and into another folder."""
    words = shlex.split(command)
    given = {"out", *(word.split("=")[0] for word in SHORT[words[1]])}
    kept = [word for word in words[2:] if word.split("=")[0] not in given]
    run([sys.executable, words[1], *kept, *SHORT[words[1]], f"out={tmp_path}"], REPOSITORY)
    assert list(tmp_path.iterdir())


@pytest.mark.parametrize("place", CODE)
def test_python_blocks_run(place: str, tmp_path: Path) -> None:
    assert run([sys.executable, "-c", CODE[place]], tmp_path).strip()


OVERVIEW = {
    "FedFlow": "fedflow",
    "FedFlow+L": "fedflow_l",
    "DDM": "ddm",
    "DDM+L": "ddm_l",
    "DFD": "dfd",
    "DFD+L": "dfd_l",
    "factored": "factored",
    "**DCFM-A**": "dcfm_a",
    "**DCFM-B**": "dcfm_b",
    "**DCFM-B+R**": "dcfm_b_r",
    "pooled (no privacy)": "pooled",
}


def overview_columns() -> list[dict[str, str]]:
    """By method, what the README's table says of each domain, from the files of results that it is from."""

    def read(path: str) -> dict[str, Any]:
        return json.loads((REPOSITORY / "docs/results" / path).read_text())

    def figure(entry: dict[str, float], key: str, scale: float, digits: int) -> str:
        low, high = max(0.0, scale * entry["low"]), min(100.0, scale * entry["high"])
        return f"{scale * entry[key]:.{digits}f} [{low:.{digits}f}, {high:.{digits}f}]"

    toy = {n: by for run in ("benchmark", "rounds") for n, by in read(f"toy/{run}/metrics.json")["summary"].items()}
    planner = read("planner_table/two_trainings/chosen/table.json")["tables"][0]["rows"]
    images = read("images/quick/table.json")["tables"][0]["rows"]
    xray = read("xray/again/chosen/table.json")["tables"][0]["rows"]
    return [
        {name: figure(by["noniid"]["novel"]["mean"], "mean", 100, 1) for name, by in toy.items()},
        {row["method"]: figure(row["novel"], "rate", 100, 1) for row in planner if row["run"]},
        {row["method"]: figure(row["utility"]["novel"], "value", 100, 1) for row in xray if row["run"]},
        {row["method"]: figure(row["novel"]["fid"], "value", 1, 2) for row in images if row["run"]},
    ]


def test_the_table_of_all_methods_has_the_figures_of_the_results() -> None:
    tables = [
        (REPOSITORY / page).read_text().partition("<!-- overview -->\n")[2].partition("<!-- end overview -->")[0]
        for page in ("README.md", "docs/comparison.md")
    ]
    assert tables[0] == tables[1]
    rows = [[cell.strip() for cell in line.strip("|\n").split("|")] for line in tables[0].splitlines()[2:]]
    shown = {OVERVIEW[row[0]]: row[1:5] for row in rows}
    columns = overview_columns()
    assert shown == {name: [column.get(name, "") for column in columns] for name in OVERVIEW.values()}
