"""dcfm/toy/report.py and figure.py: what the numbers of several seeds come to."""

import json
from pathlib import Path

import pytest
import torch

from dcfm.artefacts import save_tensors
from dcfm.toy.figure import draw
from dcfm.toy.mixture import Mixture
from dcfm.toy.report import check_kept, describe_silos, metrics, table, write_report


def record(known: float, novel: float, rule: str = "joint") -> dict:
    kinds = {
        "known": {"mean": known, "min": known - 0.01, "sliced_wasserstein": 0.05},
        "novel": {"mean": novel, "min": novel, "sliced_wasserstein": 0.1},
    }
    by_rule = {"joint": kinds, "composed": {"novel": {"mean": 0.5}}}
    return {"title": "DCFM-B", "rule": rule, "selection": {"chosen": rule}, "by_rule": by_rule, **kinds}


def cell(partition: str, seed: int, **values: dict) -> dict:
    silos = {"silo0": {"0-0": 5, "0-1": 10}, "silo1": {"0-0": 5, "1-0": 10}}
    return {"partition": partition, "seed": seed, "silos": silos, "novel": ["1-1"], "methods": values}


def test_results_that_are_not_asked_for_again_are_not_replaced(tmp_path: Path) -> None:
    check_kept(tmp_path, [])
    cells = [cell("iid", seed, dcfm_b=record(0.98, 0.94), ddm=record(0.9, 0.1)) for seed in (0, 1)]
    (tmp_path / "metrics.json").write_text(json.dumps(metrics(cells, "a command", {})))
    asked = [("iid", seed, name) for seed in (0, 1, 2) for name in ("ddm", "dcfm_b")]
    check_kept(tmp_path, asked)
    with pytest.raises(ValueError, match=r"lose 2 results that are not asked for now, such as dcfm_b, iid, seed 0"):
        check_kept(tmp_path, asked[::2])
    (tmp_path / "metrics.json").write_text("{")
    check_kept(tmp_path, [])


def test_the_table_takes_means_over_seeds_and_the_least_of_all(tmp_path: Path) -> None:
    cells = [
        cell("iid", 0, dcfm_b=record(0.98, 0.94)),
        cell("iid", 1, dcfm_b=record(0.96, 0.96, "composed")),
        cell("noniid", 0, dcfm_b=record(0.97, 0.5)),
    ]
    values = write_report(cells, tmp_path, "python scripts/toy.py", {"seed": 0})
    assert values["summary"]["dcfm_b"]["iid"]["novel"]["mean"]["mean"] == pytest.approx(0.95)
    row = table(values).splitlines()[-1]
    assert row.startswith(
        "| DCFM-B | 97.0 ± 12.7 | 95.0 | 95.0 ± 12.7 | 94.0 | 0.10 | joint 1, composed 1 | 95.0 ± 12.7 | 50.0 ± 0.0 |"
    )
    assert {path.name for path in tmp_path.iterdir()} == {"metrics.json", "selection.json", "table.md"}
    assert "iid, seed 0: novel 1-1\n  silo0: 0-0: 5, 0-1: 10" in describe_silos(cells)


def test_a_method_that_one_partition_lacks_and_nothing_novel() -> None:
    without = record(0.9, 0.1)
    del without["novel"], without["by_rule"]["joint"], without["by_rule"]["composed"]
    values = metrics([cell("iid", 0, a=record(0.9, 0.1)), cell("noniid", 0, b=without)], "command", {})
    lines = table(values).splitlines()
    assert lines[2].count("| - ") == 8
    assert lines[3].count("| - ") == 8 + 5


def test_a_figure_of_methods_by_partitions(tmp_path: Path) -> None:
    mixture = Mixture(3)
    labels = mixture.space.combinations()
    cells = [cell("noniid", 0, **{f"m{i}": record(0.9, 0.1) for i in range(6)})]
    for i in range(6):
        samples = torch.zeros(8, 5, 3)
        path = tmp_path / "noniid" / "seed0" / "samples" / f"m{i}.safetensors"
        path.parent.mkdir(parents=True, exist_ok=True)
        save_tensors(path, {"samples": samples, "labels": labels})
    assert draw(cells, tmp_path, mixture).stat().st_size > 1000


def test_a_report_names_the_revisions_that_its_records_were_made_at() -> None:
    """Not the last command's alone, which may have added one method to older ones."""
    cells = [cell("iid", seed, a=record(0.9, 0.1) | {"selection": {"git_revision": f"r{seed}"}}) for seed in (1, 0, 1)]
    assert metrics(cells, "command", {})["made_at_revisions"] == ["r0", "r1"]
