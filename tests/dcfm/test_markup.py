"""Markup: what is printed is what was given, and tables keep their shape."""

import pytest

from dcfm.markup import escape_latex, escape_markdown, latex_table, markdown_table


def test_latex_specials_are_escaped() -> None:
    assert escape_latex("100 % of a_b & {c} #1 $2 ~^") == (
        r"100 \% of a\_b \& \{c\} \#1 \$2 \textasciitilde{}\textasciicircum{}"
    )
    assert escape_latex("\\") == r"\textbackslash{}"
    assert escape_latex("< 0.001 | 1") == r"\textless{} 0.001 \textbar{} 1"


def test_markdown_specials_are_escaped() -> None:
    assert escape_markdown("dcfm_a | <b>*\n") == r"dcfm\_a \| \<b\>\* "


def test_markdown_table() -> None:
    text = markdown_table(["method", "novel"], [["a|b", "50 %"], ["c", ""]])
    assert text.splitlines() == ["| method | novel |", "| :-- | --: |", r"| a\|b | 50 % |", "| c |  |"]


def test_latex_table_is_balanced() -> None:
    text = latex_table(["method", "novel %"], [["a_b", "50.0 [1.0, 2.0]"], ["{", "}"]], "100 % & more")
    plain = text.replace(r"\{", "").replace(r"\}", "")
    assert plain.count("{") == plain.count("}")
    for name in ("table", "tabular"):
        assert text.count(rf"\begin{{{name}}}") == text.count(rf"\end{{{name}}}") == 1
    body = [line for line in text.splitlines() if line.endswith(r"\\")]
    assert len(body) == 3
    assert all(line.replace(r"\&", "").count("&") == 1 for line in body)
    assert not any("%" in line.replace(r"\%", "") for line in text.splitlines())  # none starts a comment
    assert [rule for rule in (r"\toprule", r"\midrule", r"\bottomrule") if rule in text] == [
        r"\toprule",
        r"\midrule",
        r"\bottomrule",
    ]


@pytest.mark.parametrize("make", [markdown_table, lambda head, rows: latex_table(head, rows, "")])
def test_rows_of_another_length(make) -> None:
    with pytest.raises(ValueError, match=r"rows of \[1\] cells under a head of 2"):
        make(["a", "b"], [["1"]])
