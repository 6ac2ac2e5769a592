"""Make one HTML file of any folders of results: tables, maps, loss curves, pictures, films. It opens offline.

    python scripts/report.py 'folders=[docs/results/planner_table/chosen,docs/results/cost]'
    python scripts/report.py 'folders=[runs/noniid]' title='My training' out=runs/noniid/report.html

The keys are described in configs/report.yaml.
"""

import math
from dataclasses import dataclass
from pathlib import Path

from omegaconf import DictConfig

from dcfm.configuration import script, typed, writable
from dcfm.records import command_line
from dcfm.report.page import check_folders, make_report


@dataclass
class Settings:
    """The keys of configs/report.yaml and their types."""

    folders: list[str]
    title: str
    largest: float
    out: str


@script("report", "nothing was written")
def main(config: DictConfig) -> None:
    """Check, read, write."""
    given = typed(config, Settings, "report")
    if not 0 < given.largest < math.inf:
        raise ValueError(f"largest={given.largest}: give a size in MB above 0")
    out, folders = Path(given.out), [Path(folder) for folder in given.folders]
    if out.suffix.lower() not in (".html", ".htm"):
        raise ValueError(f"out={out}: give the name of an HTML file, which ends in .html")
    check_folders(folders)
    writable(out.parent)
    command = command_line()
    make_report(folders, out, title=given.title, command=command, largest=int(given.largest * 1e6))
    print(f"wrote {out}: {out.stat().st_size / 1e6:.1f} MB")


if __name__ == "__main__":
    main()
