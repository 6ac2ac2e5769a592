"""Tables as text: each number in its own column, in its own unit."""

from typing import Any

from dcfm_xray.text import EQUAL, GROUPS, describe_metrics, describe_utility, rows_of, sets_table


def estimate(value: float) -> dict[str, float]:
    return {"value": value, "low": value / 2, "high": value * 2}


def groups(known: float) -> dict[str, dict[str, float]]:
    """Numbers that differ from group to group."""
    return {group: estimate(known * factor) for group, factor in zip(GROUPS, (1, 2, 3), strict=True)}


def shares(value: float) -> dict[str, Any]:
    return {group: {"utility": groups(value)[group], "precision": groups(value / 10)[group]} for group in GROUPS}


ROW = {
    "method": "dcfm_b",
    "run": True,
    "trainings": 2,
    "utility": groups(0.1),
    "precision": groups(0.2),
    EQUAL: groups(0.15),
    "fid": groups(8),
    "precision_sets": {"known": None, "novel": "9 of 16 sets", "all": None},
    "specificity": "88.0 (least 70)",
    "sampling": "joint",
}
METRICS = {
    "method": "dcfm_b",
    "partition": "iid",
    "sampling": "joint",
    "evaluations": 8,
    "synthetic_images": 160,
    "test_images": 90,
    "utility": shares(0.2),
    "distances": {group: {"fid": groups(8)[group], "kid": groups(0.004)[group]} for group in GROUPS},
}


def test_a_row_of_the_table() -> None:
    none = {"method": "dfd", "run": False, "trainings": 0}
    head, (row, missing) = rows_of({"rows": [ROW, none]}, {"dcfm_b": "DCFM-B", "dfd": "DFD"})
    assert dict(zip(head, row, strict=True)) == {
        "method": "DCFM-B",
        "U known": "10.0 [5.0, 20.0]",
        "U novel": "20.0 [10.0, 40.0]",
        "U all": "30.0 [15.0, 60.0]",
        "precision known": "20.0 [10.0, 40.0]",
        "precision novel": "40.0 [20.0, 80.0] (9 of 16 sets)",
        "U known at equal specificity": "15.0 [7.5, 30.0]",
        "U novel at equal specificity": "30.0 [15.0, 60.0]",
        "specificity": "88.0 (least 70)",
        "FID known": "8.00 [4.00, 16.00]",
        "FID novel": "16.00 [8.00, 32.00]",
        "FID all": "24.00 [12.00, 48.00]",
        "sampling": "joint",
    }
    assert missing == ["DFD", *["not run"] * 11, ""]


def test_one_model_on_the_screen() -> None:
    assert describe_utility(METRICS) == (
        "known U 20.0 [10.0, 40.0] %, precision 2.0 [1.0, 4.0] %; novel U 40.0 [20.0, 80.0] %, precision 4.0 "
        "[2.0, 8.0] %; all U 60.0 [30.0, 120.0] %, precision 6.0 [3.0, 12.0] %"
    )
    first, _, known, novel, every = describe_metrics(METRICS).splitlines()
    assert first == "dcfm_b, iid, sampled: joint, 8 evaluations; 160 synthetic pictures, 90 test images"
    assert known == "known: FID 8.00 [4.00, 16.00], KID x 1000 4.00 [2.00, 8.00]"
    assert (novel[:16], every[:14]) == ("novel: FID 16.00", "all: FID 24.00")
    without = METRICS | {"distances": METRICS["distances"] | {"novel": None}}
    assert describe_metrics(without).splitlines()[3] == "novel: FID -, KID x 1000 -"


def test_a_set_s_recall_stands_under_its_method() -> None:
    """Sets of fewer findings first; one that a method's test images lack has no recall there."""

    def by_set(**recalls: tuple[float, int] | None) -> dict[str, Any]:
        rows = []
        for names, found in recalls.items():
            share = None if found is None else {"rate": found[0], "low": 0.0, "high": 1.0, "n": found[1]}
            rows.append({"findings": names.replace("_and_", "|"), "recall": share})
        return {"by_set": rows}

    one = {"utility": {"known": by_set(Edema_and_Mass=(0.25, 4), Mass=(0.5, 8)), "novel": by_set(Hernia=(0.75, 3))}}
    two = {"utility": {"known": by_set(Edema_and_Mass=(1.0, 4), Mass=(0.0, 8)), "novel": by_set(Hernia=None)}}
    lines = sets_table({"A": one, "B": two}).strip().splitlines()[-3:]
    assert [[cell.strip() for cell in line.strip("|").split("|")] for line in lines] == [
        ["Mass", "known", "8", "50 [0, 100]", "0 [0, 100]"],
        ["Edema, Mass", "known", "4", "25 [0, 100]", "100 [0, 100]"],
        ["Hernia", "novel", "3; 0", "75 [0, 100]", "-"],
    ]
