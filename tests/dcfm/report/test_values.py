"""JSON of any shape becomes facts, estimates, maps and a list; nothing is lost without a word."""

import pytest

from dcfm.report.blocks import Facts, Folded, Grid, Table
from dcfm.report.values import LONGEST, blocks_of, centre, cut, estimate_text, maps_of

SHARE = {"k": 9, "n": 10, "rate": 0.9, "low": 0.596, "high": 0.982}


def test_estimates() -> None:
    assert estimate_text(SHARE) == "90.0 % [59.6, 98.2]"
    assert estimate_text({"value": 2.09454, "low": 1.829, "high": 2.39}) == "2.095 [1.829, 2.39]"
    assert (
        estimate_text({"k": 3, "n": 4, "share": 0.75, "low": 0.3, "high": 0.95}) == "75.0 % [30.0, 95.0]"
    )  # the toy's
    assert centre({"rate": 0.5}) is None
    assert centre({"low": True, "high": 1, "rate": 0.5}) is None
    assert centre([0.5]) is None


def test_facts_estimates_and_the_rest() -> None:
    value = {"command": "x", "seed": 0, "known": {"success": SHARE, "steps": 6.5}, "list": [{"method": "a", "z": None}]}
    facts, table, rest = blocks_of(value, "m.json")
    assert facts == Facts([("command", "x"), ("seed", "0")])
    assert table == Table(["", "estimate [95 % interval]", "n"], [["known › success", "90.0 % [59.6, 98.2]", "9/10"]])
    assert isinstance(rest, Folded)
    assert rest.blocks == [Facts([("known › steps", "6.5"), ("list › 0 (a) › method", "a"), ("list › 0 (a) › z", "")])]
    assert blocks_of(value, "m.json", folded=True)[0] == Folded("m.json", [facts, table, rest])


def test_what_stands_beside_an_estimate_is_not_lost() -> None:
    tests = [SHARE | {"p": 0.01, "method": "dcfm_a", "baseline": b, "interval": "Wilson"} for b in ("ddm", "dfd")]
    table, rest = blocks_of({"tests": tests, "auc": {"value": 0.7, "low": 0.6, "high": 0.8, "draws": [1, 2]}}, "m.json")
    assert isinstance(table, Table)
    assert [row[0] for row in table.rows] == ["tests › 0 (dcfm_a, ddm)", "tests › 1 (dcfm_a, dfd)", "auc"]
    assert isinstance(rest, Folded)
    (facts,) = rest.blocks
    assert isinstance(facts, Facts)
    assert ("tests › 1 (dcfm_a, dfd) › p", "0.01") in facts.rows
    assert ("tests › 0 (dcfm_a, ddm) › interval", "Wilson") in facts.rows
    assert not [name for name, _ in facts.rows if name.startswith("auc")]


def test_lists_at_the_top_are_among_the_rest() -> None:
    facts, rest = blocks_of({"seeds": [0, 1, 2], "command": "x", "none": {}}, "m.json")
    assert facts == Facts([("command", "x")])
    assert isinstance(rest, Folded)
    assert rest.blocks == [Facts([("seeds", "0, 1, 2"), ("none", "")])]
    (alone,) = blocks_of([1, 2, 3], "m.json")
    assert alone == Folded("m.json: all other values", [Facts([("", "1, 2, 3")])])


@pytest.mark.parametrize("value", [[1, 2], 3, "x", None, {}, [], [[1, [2]], {}]])
def test_anything_else_is_shown_too(value: object) -> None:
    assert isinstance(blocks_of(value, "m.json"), list)


def test_a_map_of_pairs() -> None:
    value = {"pairs": {f"{a}-{b}": {"success": SHARE, "tried": 3} for a in ("TL", "BR") for b in ("TL", "BR", "TR")}}
    del value["pairs"]["BR-TR"]
    (grid,) = maps_of(value)
    assert isinstance(grid, Grid)
    assert list(grid.columns) == ["TL", "BR", "TR"]
    assert [name for name, _ in grid.rows] == ["TL", "BR"]
    assert grid.rows[1][1][2] is None
    cell = grid.rows[0][1][0]
    assert cell is not None
    assert (cell.estimate, cell.interval, cell.share) == ("90.0 %", "[59.6, 98.2]", 0.9)
    assert maps_of({"pairs": {"a": SHARE}}) == maps_of({}) == []


@pytest.mark.parametrize("first", [{}, {"success": None}, {"tried": 0}])
def test_maps_are_those_of_any_pair(first: dict[str, object]) -> None:
    """The first pair may have had no trials."""
    value = {"pairs": {"TL-TL": first, "TL-BR": {"success": SHARE}, "BR-TL": {"success": SHARE, "strict": SHARE}}}
    success, strict = maps_of(value)
    assert (success.title.split(",")[0], strict.title.split(",")[0]) == ("success", "strict")
    assert [cell and cell.estimate for cell in success.rows[0][1]] == [None, "90.0 %"]
    assert [cell and cell.estimate for cell in strict.rows[1][1]] == ["90.0 %", None]
    assert len(maps_of({"pairs": {"TL-TL": {}, "TL-BR": SHARE}})) == 1


def test_long_tables_say_how_long() -> None:
    table = cut(["a"], [["x"]] * (LONGEST + 1))
    assert len(table.rows) == LONGEST
    assert table.note == f"the first {LONGEST} of {LONGEST + 1} rows"
