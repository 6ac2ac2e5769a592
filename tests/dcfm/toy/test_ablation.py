"""dcfm/toy/ablation.py: a row's shares are those of its value, method and partition."""

import pytest

from dcfm.toy.ablation import collect, read_factors
from dcfm.toy.cell import Cell
from dcfm.toy.problem import ProblemSettings


def test_a_row_is_of_its_value_and_its_partition_over_seeds() -> None:
    factors = read_factors({"lambda": {"0": {"dcfm_b": {"student": {"weight": 0.0}}}, "1": {"dcfm_b": None}}})
    cells = [Cell(ProblemSettings(partition, seed=seed)) for seed in (3, 5) for partition in ("iid", "noniid")]
    records = [
        {
            f"dcfm_b/lambda={value}": {
                "rule": "joint" if seed == 3 else "composed",
                "known": (90 + seed + int(value), 300),
                "novel": (10 * (partition == "iid") + seed + int(value), 100),
            }
            for value in ("0", "1")
        }
        for partition, seed in ((cell.problem.partition, cell.problem.seed) for cell in cells)
    ]
    rows = collect(factors, cells, records)
    assert [(row["value"], row["partition"]) for row in rows] == [
        ("0", "iid"),
        ("0", "noniid"),
        ("1", "iid"),
        ("1", "noniid"),
    ]
    for row in rows:
        value, iid = int(row["value"]), row["partition"] == "iid"
        assert (row["factor"], row["method"]) == ("lambda", "dcfm_b")
        assert row["training"] == ({} if value else {"student": {"weight": 0.0}})
        assert (row["seeds"], row["rules"]) == ([3, 5], ["joint", "composed"])
        assert (row["known"]["n"], row["novel"]["n"]) == (300, 100)
        assert row["known"]["shares"] == [(93 + value) / 300, (95 + value) / 300]
        assert row["novel"]["shares"] == [(10 * iid + 3 + value) / 100, (10 * iid + 5 + value) / 100]
        assert row["novel"]["mean"] == pytest.approx((10 * iid + 4 + value) / 100)
