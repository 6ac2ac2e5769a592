"""The page: sections as one HTML file that needs nothing else, no network and no script."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path

from dcfm.artefacts import git_revision, write_text_atomically
from dcfm.report.files import ReportError
from dcfm.report.folders import section

INSTALL = "pip install 'dcfm[report]'"


def check_folders(folders: Sequence[Path]) -> None:
    """Raise ``ReportError`` unless there is at least one, and each is a folder."""
    if not folders:
        raise ReportError("folders=[]: give folders of results, e.g. 'folders=[runs/toy/default,docs/results/cost]'")
    for folder in folders:
        if not folder.is_dir():
            raise ReportError(f"{folder} is no folder; give folders that scripts wrote, such as runs/toy/default")


def make_report(folders: Sequence[Path], out: Path, *, title: str, command: str, largest: int = 20_000_000) -> None:
    """Read folders of results and write a report of them, whole or not at all.

    Args:
        folders: of any scripts' results, in the report's order.
        out: the HTML file.
        title: of the page.
        command: that makes it again.
        largest: bytes of a file above which it is only named.

    Raises:
        ReportError: no folder is given, one is missing, damaged or holds nothing to show, ``out`` is a folder, or
            jinja2 or markdown-it are not installed; nothing is written.
    """
    try:
        import markdown_it  # noqa: F401 - wanted by files.read
        from jinja2 import Environment, PackageLoader, StrictUndefined
    except ImportError as error:
        raise ReportError(f"{error}; {INSTALL}") from error
    check_folders(folders)
    if out.is_dir():
        raise ReportError(f"out={out} is a folder; give the name of a file, such as {out / 'report.html'}")
    sections = [section(folder, str(folder), largest) for folder in folders]
    for folder, found in zip(folders, sections, strict=True):
        if not (found.blocks or found.sections):
            raise ReportError(
                f"{folder} holds nothing that can be shown; give a folder that a script wrote its results to"
            )
    environment = Environment(
        loader=PackageLoader("dcfm.report", ""), autoescape=True, undefined=StrictUndefined, trim_blocks=True
    )
    text = environment.get_template("page.html.j2").render(
        title=title,
        sections=sections,
        command=command,
        revision=git_revision() or "unknown",
        made=datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC"),
    )
    write_text_atomically(out, text)
