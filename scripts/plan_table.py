"""Compare all methods on the planner: train what is missing, evaluate it, and make the table.

    python scripts/plan_table.py                                    # everything; goes on where it was interrupted
    python scripts/plan_table.py 'methods=[ddm_l,dcfm_b]' 'partitions=[noniid]' trials=100 out=runs/short
    python scripts/plan_table.py train=false evaluate=false         # collect what is there

Writes ``table.md``, ``table.tex``, ``table.json``, ``bars.png`` and ``maps.png`` to ``tables``, if not given to
``out``, where each entry's own results are. The settings are described in configs/plan_table.yaml.
"""

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from omegaconf import DictConfig

from dcfm.comparison import check_any, check_failed, check_there
from dcfm.configuration import script, typed, writable
from dcfm.progress import Stages
from dcfm.records import command_line
from dcfm_planner.comparison.collate import collect
from dcfm_planner.comparison.report import FILES, write_tables
from dcfm_planner.comparison.runs import run as run_missing
from dcfm_planner.comparison.settings import ComparisonSettings
from dcfm_planner.comparison.summary import summarise
from dcfm_planner.comparison.text import markdown


@dataclass
class Settings:
    """The keys of configs/plan_table.yaml and their types."""

    methods: list[str]
    partitions: list[str]
    seeds: list[int]
    protocols: list[str]
    trials: int
    given_trials: int | None
    seed: int
    selection_seed: int
    selection_plans: int
    rules: list[str]
    runs: str
    out: str
    tables: str
    train: bool
    training: list[str]
    evaluate: bool
    redo: bool
    max_entries: int | None
    device: str
    workers: int | None
    max_steps: int


def read_settings(config: DictConfig) -> ComparisonSettings:
    """Check the types and ranges of what was given.

    Raises:
        ValueError: a value has the wrong type, is unknown, or is out of range.
    """
    given: dict[str, Any] = asdict(typed(config, Settings, "plan_table"))
    plain: dict[str, Any] = {name: tuple(value) if isinstance(value, list) else value for name, value in given.items()}
    del plain["tables"]
    plain |= {"runs": Path(given["runs"]), "out": Path(given["out"])}
    return ComparisonSettings(**plain)


def run(config: DictConfig) -> None:
    """Check, train, evaluate, collect, write, print."""
    settings = read_settings(config)
    if not settings.train:
        check_there(settings.entries(), settings.runs, settings.out)
    writable(settings.out)
    tables = writable(config.tables, "tables")
    command = command_line()
    stages = Stages()
    try:
        failed = run_missing(settings, command, stages) if settings.train or settings.evaluate else {}
    finally:
        stages.close()
    summary = summarise(collect(settings), command, failed)
    check_any(summary, failed)
    write_tables(summary, tables)
    print(f"\n{markdown(summary)}\nwrote {', '.join(FILES)} to {tables}")
    check_failed(failed)


@script("plan_table", "nothing that was done is lost: the same command goes on from here")
def main(config: DictConfig) -> None:
    """Compare, with bars that tell the time left; one line for each thing that can be wrong."""
    run(config)


if __name__ == "__main__":
    main()
