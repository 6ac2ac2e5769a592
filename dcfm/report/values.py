"""JSON as blocks, whatever its keys: facts, estimates with their intervals, maps of pairs, and all the rest as a list.

An estimate is any mapping with numbers ``low`` and ``high`` and one between them; with ``k`` and ``n`` it is a share. A
map is a mapping ``pairs`` whose keys are ``A-B``.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Final

from dcfm.report.blocks import Block, Cell, Facts, Folded, Grid, Table

LONGEST: Final = 1000
"""Rows of a table; what follows is counted, not shown."""

NAMES: Final = ("method", "baseline", "title", "name", "partition", "protocol", "cell")
"""Keys by which an entry of a list tells what it is."""

_CENTRES: Final = ("share", "rate", "value", "difference", "mean", "estimate", "median")


def number(value: Any) -> str:
    """A number, short; anything else as it is."""
    if isinstance(value, float):
        return f"{value:.4g}"
    return "" if value is None else str(value)


def centre(value: Any) -> float | None:
    """The estimate within an interval, ``None`` where a value is none."""
    if not isinstance(value, Mapping) or not all(_is_number(value.get(name)) for name in ("low", "high")):
        return None
    return next((float(value[name]) for name in _CENTRES if _is_number(value.get(name))), None)


def estimate_text(value: Mapping[str, Any]) -> str:
    """An estimate with its interval; a share in percent."""
    numbers = [centre(value) or 0.0, value["low"], value["high"]]
    if _is_number(value.get("k")) and _is_number(value.get("n")):
        middle, low, high = (f"{100 * x:.1f}" for x in numbers)
        return f"{middle} % [{low}, {high}]"
    middle, low, high = (number(float(x)) for x in numbers)
    return f"{middle} [{low}, {high}]"


def cut(head: list[str], rows: list[list[str]], longest: int = LONGEST) -> Table:
    """A table of at most so many rows that says how many there are."""
    note = f"the first {longest} of {len(rows)} rows" if len(rows) > longest else ""
    return Table(head, rows[:longest], note)


def blocks_of(value: Any, title: str, *, folded: bool = False) -> list[Block]:
    """A JSON value as blocks.

    Args:
        value: what ``json.loads`` gave.
        title: the file's name.
        folded: fold everything, because the same is told elsewhere.
    """
    if not isinstance(value, Mapping):
        value = {"": value}
    facts = [(key, number(item)) for key, item in value.items() if not isinstance(item, Mapping | list)]
    shown = {key for key, _ in facts}
    shares, rest = [], []
    for path, item in _walk(value):
        if isinstance(item, Mapping) and centre(item) is not None:
            size = f"{item['k']}/{item['n']}" if "k" in item and "n" in item else number(item.get("n"))
            shares.append([" › ".join(path), estimate_text(item), size])
        elif len(path) > 1 or not shown.issuperset(path):
            rest.append((" › ".join(path), number(item)))
    blocks: list[Block] = [Facts(facts)] if facts else []
    if grids := maps_of(value):
        first = next((grid for grid in grids if grid.title.startswith("success,")), grids[0])
        others = [grid for grid in grids if grid is not first]
        blocks += [first, *([Folded(f"{title}: {len(others)} more maps", others)] if others else [])]
    if shares:
        table = cut(["", "estimate [95 % interval]", "n"], shares)
        blocks.append(Folded(f"{title}: {len(shares)} estimates", [table]) if len(shares) > 40 else table)
    if rest:
        more = [("...", f"{len(rest) - LONGEST} more")] if len(rest) > LONGEST else []
        blocks.append(Folded(f"{title}: all other values", [Facts([*rest[:LONGEST], *more])]))
    return [Folded(title, blocks)] if folded else blocks


def maps_of(value: Mapping[str, Any]) -> list[Grid]:
    """The maps in a mapping ``pairs``: one for each share that its entries have."""
    pairs = value.get("pairs")
    if not isinstance(pairs, Mapping) or not all(
        key.count("-") == 1 and isinstance(item, Mapping) for key, item in pairs.items()
    ):
        return []
    ends = [tuple(key.split("-")) for key in pairs]
    sources, targets = (list(dict.fromkeys(end[i] for end in ends)) for i in (0, 1))
    # Of all pairs: the first ones may have had no trials, and then no shares either.
    every = (name for item in pairs.values() for name, inner in item.items() if centre(inner) is not None)
    names = [""] if any(centre(item) is not None for item in pairs.values()) else list(dict.fromkeys(every))
    grids = []
    for name in names:
        rows = []
        for source in sources:
            found = [pairs.get(f"{source}-{target}", {}) for target in targets]
            rows.append((source, [_cell(item.get(name, {}) if name else item) for item in found]))
        grids.append(Grid(f"{name or 'estimate'}, from (row) to (column)", targets, rows))
    return grids


def _cell(found: Any) -> Cell | None:
    share = centre(found)
    if share is None:
        return None
    text, interval = estimate_text(found).split(" [")
    return Cell(text, f"[{interval}", min(1.0, max(0.0, share)))


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _walk(value: Any, path: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], Any]]:
    """Estimates whole, then what stands beside their numbers; and whatever has no parts, by path; a short list of plain
    values is one text."""
    if isinstance(value, Mapping) and value and centre(value) is None:
        for key, item in value.items():
            yield from _walk(item, (*path, str(key)))
    elif isinstance(value, Mapping) and value:
        yield path, value
        told = {"low", "high", "k", "n", "draws", next(name for name in _CENTRES if _is_number(value.get(name)))}
        for key, item in value.items():
            if key not in told:
                yield from _walk(item, (*path, str(key)))
    elif isinstance(value, list) and value:
        if all(not isinstance(item, Mapping | list) for item in value):
            yield path, ", ".join(number(item) for item in value[:100]) + (" ..." if len(value) > 100 else "")
        else:
            for place, item in enumerate(value):
                yield from _walk(item, (*path, _name(item, place)))
    else:
        yield path, "" if isinstance(value, list) or value == {} else value


def _name(item: Any, place: int) -> str:
    """An entry of a list, by its number and what it says of itself."""
    told = [str(item[key]) for key in NAMES if key in item] if (isinstance(item, Mapping)) else []
    return f"{place} ({', '.join(told)})" if told else str(place)
