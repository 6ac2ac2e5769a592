"""The comparison's files, each whole or not at all."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from dcfm.artefacts import write_text_atomically
from dcfm_planner.comparison.figures import draw_bars, draw_maps
from dcfm_planner.comparison.text import latex, markdown

FILES = ("table.md", "table.tex", "bars.png", "maps.png", "table.json")


def write_tables(summary: Mapping[str, Any], out: Path) -> None:
    """Write :data:`FILES`, ``table.json`` last, and take an old one away first: where it is, the others belong to it.

    Args:
        summary: of :func:`~dcfm_planner.comparison.summary.summarise`.
        out: folder, made if missing.
    """
    out.mkdir(parents=True, exist_ok=True)
    (out / "table.json").unlink(missing_ok=True)
    write_text_atomically(out / "table.md", markdown(summary))
    write_text_atomically(out / "table.tex", latex(summary))
    draw_bars(summary, out / "bars.png")
    draw_maps(summary, out / "maps.png")
    write_text_atomically(out / "table.json", json.dumps(summary, indent=2, allow_nan=False) + "\n")
