"""Tables as text: each number in its own column, in its own unit."""

from typing import Any

from dcfm_images.text import describe_metrics, distance_rows, latex, manifold_rows, markdown


def estimate(value: float) -> dict[str, float]:
    return {"value": value, "low": value / 2, "high": value * 2}


def rate(value: float, n: int = 200) -> dict[str, float]:
    return {"rate": value, "low": value - 0.05, "high": value + 0.05, "n": n}


def cell(first: float) -> dict[str, Any]:
    """Numbers that differ from cell to cell."""
    shares = {"precision": estimate(first / 100), "recall": estimate(first / 200)}
    return {"fid": estimate(first), "kid": estimate(first / 1000), **shares, "accuracy_both": rate(first / 50)}


ROWS = [
    {"method": "ddm_l", "run": True, "known": cell(8), "novel": cell(16), "made_with": {"0": {"sampling": "joint"}}},
    {"method": "dfd", "run": False},
    {
        "method": "dcfm_b",
        "run": True,
        "known": cell(10),
        "novel": cell(12),
        "made_with": {"0": {"sampling": "full"}, "1": {"sampling": "composed, w = 1"}, "2": {"sampling": "full"}},
    },
    {"method": "real", "run": True, "known": cell(2), "novel": cell(4), "made_with": {"0": {"sampling": None}}},
]
PAPER = {"known": 9.32, "novel": 12.24, "known_ratio": 1.138, "novel_ratio": 0.747}
TABLE = {
    "partition": "noniid",
    "rows": [row | {"paper": PAPER if row["method"] == "dcfm_b" else None} for row in ROWS],
    "best_baseline": {"known": "dfd", "novel": "ddm_l"},
    "ratios": [
        {"method": "dcfm_b", "cell": "known", "baseline": "ddm_l"} | estimate(1.25),
        {"method": "dcfm_b", "cell": "novel", "baseline": "ddm_l"} | estimate(0.75),
    ],
    "common": {"each": 100, "features": "digits"},
    "warnings": ["a warning"],
}
TITLES = {"ddm_l": "DDM+L", "dfd": "DFD", "dcfm_b": "DCFM-B", "real": "real digits"}
SUMMARY = {"tables": [TABLE], "titles": TITLES, "failed": {}, "paper": "a paper", "command": "c", "git_revision": "r"}


def test_distances_and_accuracy() -> None:
    head, (ddm, dfd, dcfm, real) = distance_rows(TABLE, TITLES)
    told = dict(zip(head, dcfm, strict=True))
    assert told == {
        "method": "DCFM-B",
        "FID known": "10.00 [5.00, 20.00]",
        "FID novel": "12.00 [6.00, 24.00]",
        "novel / best baseline": "0.75 [0.38, 1.50]",
        "accuracy known": "20.0 [15.0, 25.0]",
        "accuracy novel": "24.0 [19.0, 29.0]",
        "sampling": "full; composed, w = 1",
        "paper: known": "9.32",
        "paper: novel": "12.24",
        "paper: novel / best baseline": "0.75",
    }
    best = head.index("novel / best baseline")
    assert [row[best] for row in (ddm, dfd, real)] == ["best", "", ""]
    assert dfd[1:3] == ["not run", "not run"]
    assert real[head.index("sampling")] == ""


def test_manifolds() -> None:
    head, rows = manifold_rows(TABLE, TITLES)
    assert dict(zip(head, rows[2], strict=True)) == {
        "method": "DCFM-B",
        "KID x 1000 known": "10.00 [5.00, 20.00]",
        "KID x 1000 novel": "12.00 [6.00, 24.00]",
        "precision known": "0.10 [0.05, 0.20]",
        "precision novel": "0.12 [0.06, 0.24]",
        "recall known": "0.05 [0.03, 0.10]",
        "recall novel": "0.06 [0.03, 0.12]",
    }
    assert rows[1] == ["DFD", *["not run"] * 6]


def test_a_page_says_of_which_cell_a_ratio_is() -> None:
    page = markdown(SUMMARY)
    assert "## Non-IID, 100 pictures of each combination, feature space digits" in page
    for which, value in (("known", "1.25 [0.62, 2.50]"), ("novel", "0.75 [0.38, 1.50]")):
        told = f"FID of DCFM-B on {which} combinations over that of DDM+L, the best baseline there: {value}"
        assert told in page
    assert "Warning: a warning" in page
    assert latex(SUMMARY).count("Paper: a paper.") == 1


def test_one_model_on_the_screen() -> None:
    cells = {"known": cell(10), "novel": cell(12)}
    judged = {name: part | {"accuracy": {"both": part["accuracy_both"]}, "n": 7} for name, part in cells.items()}
    facts = {"method": "dcfm_b", "partition": "iid", "sampling": "joint", "evaluations": 24, "features": "digits"}
    first, known, novel = describe_metrics(facts | judged).splitlines()
    assert first == "dcfm_b, iid, sampled: joint, 24 evaluations; features: digits"
    assert known == (
        " known: FID 10.00 [5.00, 20.00], KID x 1000 10.00 [5.00, 20.00], precision 0.10 [0.05, 0.20], recall 0.05 "
        "[0.03, 0.10], digit and colour right 20.0 [15.0, 25.0] % of 7"
    )
    assert novel.startswith(" novel: FID 12.00")
