"""A page's tables of methods show the results beside it."""

import re
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).parent.parent
FIGURE = re.compile(r"[-+]?\d+\.\d+ \[[^\]]+\]")
METHODS = ("FedFlow", "FedFlow+L", "DDM", "DDM+L", "DFD", "DFD+L", "factored", "DCFM-A", "DCFM-B", "pooled")


def rows(page: str) -> list[tuple[str, set[str]]]:
    """Method and figures ``value [low, high]`` of the rows of a page's tables that have any."""
    cells = [line.strip("|").split("|") for line in page.splitlines() if line.startswith("|")]
    found = [(row[0].strip(), set(FIGURE.findall("|".join(row)))) for row in cells]
    return [(name, figures) for name, figures in found if name in METHODS and figures]


def figures_of(method: str, results: str) -> set[str]:
    """All figures in the lines of a file of results that name the method."""
    named = re.compile(rf"(?<![\w-]){re.escape(method)}(?![\w+-])")
    return {figure for line in results.splitlines() if named.search(line) for figure in FIGURE.findall(line)}


@pytest.mark.parametrize("page", ["images", "planner_table", "xray"])
def test_figures_of_methods_are_in_files_of_results(page: str) -> None:
    files = [path.read_text() for path in (REPOSITORY / "docs/results" / page).rglob("table.md")]
    shown = rows((REPOSITORY / f"docs/{page}.md").read_text())
    assert shown
    lost = [(name, row - set().union(*(figures_of(name, file) for file in files))) for name, row in shown]
    assert not [(name, figures) for name, figures in lost if figures]
