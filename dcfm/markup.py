"""Tables as text: Markdown and LaTeX from the same rows of plain strings, each escaped for its language."""

from collections.abc import Sequence

_LATEX = {
    "\\": r"\textbackslash{}",
    "&": r"\&",
    "%": r"\%",
    "$": r"\$",
    "#": r"\#",
    "_": r"\_",
    "{": r"\{",
    "}": r"\}",
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
    "<": r"\textless{}",
    ">": r"\textgreater{}",
    "|": r"\textbar{}",
}


def escape_latex(text: str) -> str:
    """Plain text as LaTeX source that prints it.

    >>> escape_latex("50 % of dcfm_a & b")
    '50 \\\\% of dcfm\\\\_a \\\\& b'
    """
    return "".join(_LATEX.get(character, character) for character in text)


def escape_markdown(text: str) -> str:
    """Plain text for a cell of a Markdown table.

    >>> escape_markdown("a_b | *c*")
    'a\\\\_b \\\\| \\\\*c\\\\*'
    """
    return "".join("\\" + c if c in r"\`*_|<>" else c for c in text).replace("\n", " ")


def markdown_table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A Markdown table of plain strings, the first column aligned left, the others right.

    Raises:
        ValueError: a row of another length than the head.
    """
    _check(head, rows)
    lines = [head, [":--", *["--:"] * (len(head) - 1)], *rows]
    return "\n".join(
        f"| {' | '.join(cells if number == 1 else map(escape_markdown, cells))} |" for number, cells in enumerate(lines)
    )


def latex_table(head: Sequence[str], rows: Sequence[Sequence[str]], caption: str) -> str:
    """A LaTeX table (package booktabs) of plain strings.

    Raises:
        ValueError: a row of another length than the head.
    """
    _check(head, rows)

    def line(cells: Sequence[str]) -> str:
        return " & ".join(map(escape_latex, cells)) + r" \\"

    return "\n".join(
        [
            r"\begin{table}",
            r"\centering\footnotesize",
            rf"\caption{{{escape_latex(caption)}}}",
            rf"\begin{{tabular}}{{l{'r' * (len(head) - 1)}}}",
            r"\toprule",
            line(head),
            r"\midrule",
            *map(line, rows),
            r"\bottomrule",
            r"\end{tabular}",
            r"\end{table}",
        ]
    )


def _check(head: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    if any(len(row) != len(head) for row in rows):
        raise ValueError(f"rows of {sorted({len(row) for row in rows})} cells under a head of {len(head)}")
