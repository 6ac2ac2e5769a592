"""Compare planners that were evaluated on the same problems: success, differences, exact paired tests.

    python scripts/plan_compare.py 'ours={Mine:runs/eval/mine}' 'others={DCFM-A:runs/eval/a,DCFM-B:runs/eval/b}'
    python scripts/plan_compare.py 'ours={Mine:[runs/0/mine,runs/1/mine]}' 'others={A:[runs/0/a,runs/1/a]}'

Evaluate them first, with scripts/plan_eval.py or scripts/plan_table.py. Several trainings of a method: a list of
folders, in the same order of seeds for each. Prints two tables and writes
``comparison.md``, ``comparison.json`` and ``config.yaml`` to ``out``. The settings are described in
configs/plan_compare.yaml.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from omegaconf import DictConfig, OmegaConf

from dcfm.artefacts import write_text_atomically
from dcfm.comparison import ComparisonError
from dcfm.configuration import check_same_settings, script, typed, writable
from dcfm.records import command_line
from dcfm_planner.comparison.folders import Planner, compare, markdown


@dataclass
class Settings:
    """The keys of configs/plan_compare.yaml and their types."""

    ours: Any
    others: Any
    out: str


def read_planners(name: str, given: Any) -> list[Planner]:
    """Read what a key names.

    Raises:
        ComparisonError: it names nothing, or what is no evaluation.
    """
    example = f"'{name}={{DCFM-B:runs/eval/b}}' or '{name}={{DCFM-B:[runs/seed0/b,runs/seed1/b]}}'"
    if not isinstance(given, Mapping) or not given:
        raise ComparisonError(f"{name}={given!r}: give titles and folders of evaluations, e.g. {example}")
    planners = []
    for title, folders in given.items():
        folders = [folders] if isinstance(folders, str) else folders
        if not isinstance(folders, list) or not folders or not all(isinstance(folder, str) for folder in folders):
            raise ComparisonError(f"{name}, {title}: {folders!r} names no folder; give one or several, e.g. {example}")
        planners.append(Planner.read(str(title), [Path(folder) for folder in folders]))
    return planners


def run(config: DictConfig) -> None:
    """Read, compare, write, print."""
    given = typed(config, Settings, "plan_compare")
    ours, others = read_planners("ours", given.ours), read_planners("others", given.others)
    out = writable(Path(given.out))
    check_same_settings(out, config, made="comparison.json")
    comparison = compare(ours, others, command_line())
    text = markdown(comparison)
    write_text_atomically(out / "config.yaml", OmegaConf.to_yaml(config, resolve=True))
    write_text_atomically(out / "comparison.md", text)
    write_text_atomically(out / "comparison.json", json.dumps(comparison, indent=2, allow_nan=False) + "\n")
    print(f"{text}\nwrote comparison.md and comparison.json to {out}")


@script("plan_compare", "nothing was written")
def main(config: DictConfig) -> None:
    """Compare; one line for each thing that can be wrong."""
    run(config)


if __name__ == "__main__":
    main()
