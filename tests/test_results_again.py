"""Every shipped table is made again from the results that lie beside it, and has the same figures."""

import json
import math
import shlex
import shutil
from pathlib import Path
from typing import Any, Final

import pytest
from hydra import compose, initialize_config_module

from tests.commands import REPOSITORY, script_module

RESULTS: Final = REPOSITORY / "docs/results"

ELSEWHERE: Final = {
    "images/quick_disjoint_seeds": ("images/quick_disjoint", "images/quick_disjoint_seeds"),
    "images/quick_seeds": ("images/quick", "images/quick_seeds"),
    "planner_table/four/given": ("planner_table/four/chosen",),
    "planner_table/four/three_trainings": ("planner_table/four/chosen",),
    "planner_table/second": ("planner_table/chosen",),
    "planner_table/two_trainings/chosen": ("planner_table/chosen",),
    "xray/again/chosen": ("xray/again/plain", "xray/again/chosen"),
    "xray/disjoint/chosen": ("xray/disjoint/plain", "xray/disjoint/chosen"),
    "xray/disjoint/fixed": ("xray/disjoint/plain", "xray/disjoint/fixed"),
    "xray/quick_plain": ("xray/quick", "xray/quick_plain"),
    "xray/quick_seeds": ("xray/quick", "xray/quick_seeds"),
}
"""Folders that a table's results and its real classifiers' lie in, where these are not the table's own; what two of
them have is the last one's."""

NOT_AGAIN: Final = {
    "communication/pictures/mixtures": "its results are not shipped",
    "communication/pictures/rounds10": "of its results those of FedFlow+L are shipped",
    "communication/pictures/rounds3": "likewise",
    "communication/planner/fedflow_l-2-rounds": "its one result lies in the folder itself",
    "images/quick_eq12": "its results are of an earlier form",
    "images/quick_joint": "its results came without records",
    "xray/null_pairs": "its results are of an earlier form",
}

KEPT: Final = ("given_trials", "protocols", "rules", "training")
"""Keys of a table's command that its figures depend on, beside those that its file tells."""


def shipped() -> dict[str, str]:
    """Each table's folder under :data:`RESULTS`, and the command that made it."""
    tables = sorted(RESULTS.rglob("table.json"))
    return {str(t.parent.relative_to(RESULTS)): json.loads(t.read_text())["command"] for t in tables}


def differences(old: Any, new: Any, at: str = "") -> list[str]:
    """What of ``old`` is not so in ``new``, which may have more keys, and other last digits."""
    if isinstance(old, dict) and isinstance(new, dict):
        gone = [f"{at}/{key} is gone" for key in old if key not in new]
        return gone + [d for key in old if key in new for d in differences(old[key], new[key], f"{at}/{key}")]
    if isinstance(old, list) and isinstance(new, list):
        if len(old) != len(new):
            return [f"{at}: {len(old)} and {len(new)} of them"]
        return [d for i, pair in enumerate(zip(old, new, strict=True)) for d in differences(*pair, f"{at}[{i}]")]
    if isinstance(old, float) and isinstance(new, float):
        return [] if math.isclose(old, new, rel_tol=1e-9, abs_tol=1e-12) else [f"{at}: {old} and {new}"]
    return [] if old == new else [f"{at}: {old!r} and {new!r}"]


def test_a_table_that_is_not_made_again_is_named() -> None:
    tables = shipped()
    assert not {*NOT_AGAIN, *ELSEWHERE} - set(tables)
    assert len(set(tables) - set(NOT_AGAIN)) > 15


@pytest.mark.parametrize("name", sorted(set(shipped()) - set(NOT_AGAIN)))
def test_a_shipped_table_is_that_of_the_results_beside_it(
    name: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    old = json.loads((RESULTS / name / "table.json").read_text())
    for folder in ELSEWHERE.get(name, (name,)):
        shutil.copytree(
            RESULTS / folder, tmp_path / "cells", ignore=shutil.ignore_patterns("table.*", "*.png"), dirs_exist_ok=True
        )
    program, *words = shlex.split(old["command"])[1:]
    methods = [row["method"] for row in old["tables"][0]["rows"] if row["method"] != "real"]
    overrides = [word for word in words if word.partition("=")[0] in KEPT]
    overrides += [f"methods=[{','.join(methods)}]", f"seeds={old['training_seeds']}", "train=false", "evaluate=false"]
    overrides += [f"partitions=[{','.join(dict.fromkeys(t['partition'] for t in old['tables']))}]", "device=cpu"]
    overrides += ["runs=none", f"out={tmp_path / 'cells'}"]
    if name.startswith("xray"):
        overrides.append(f"real={tmp_path / 'cells'}")
    where, _, file = program.removeprefix("scripts/").rpartition("/")
    with initialize_config_module(f"dcfm_configs.{where}".rstrip("."), version_base="1.3"):
        script_module(program).run(compose(Path(file).stem, overrides=overrides))
    new = json.loads((tmp_path / "cells/table.json").read_text())
    assert any(row["run"] for row in old["tables"][0]["rows"])
    assert not differences(old["tables"], new["tables"])
    assert "wrote" in capsys.readouterr().out
