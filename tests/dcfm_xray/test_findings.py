"""The label table's published facts, and findings as labels."""

import pytest
import torch

from dcfm_xray.findings import (
    FINDINGS,
    SPACE,
    FindingError,
    LabelSets,
    describe,
    label_table,
    parse,
    to_labels,
    to_set,
)


def test_the_table_counts_every_image_of_the_source() -> None:
    table = label_table()
    assert table.total == 112_120
    assert len(table.labels) == 801
    assert len(torch.unique(table.labels, dim=0)) == 801


def test_exactly_54_sets_are_feasible() -> None:
    feasible = label_table().feasible()
    sizes = feasible.labels.sum(1)
    assert [int((sizes == n).sum()) for n in range(4)] == [1, 13, 34, 6]
    assert len(feasible.labels) == 54
    assert int(feasible.counts.min()) >= 0.001 * 112_120


def test_hernia_alone_is_too_rare() -> None:
    table = label_table()
    hernia = (table.labels == to_labels([{"Hernia"}])).all(1)
    assert int(table.counts[hernia]) == 110
    feasible = table.feasible().labels
    assert not feasible[:, FINDINGS.index("Hernia")].any()


def test_at_most_nine_findings_and_mostly_three() -> None:
    table = label_table()
    sizes = table.labels.sum(1)
    assert int(sizes.max()) == 9
    assert int(table.counts[sizes == 9].sum()) == 2
    assert float(table.counts[sizes <= 3].sum()) / table.total == pytest.approx(0.9854, abs=5e-5)


def test_the_sets_identify_every_main_effect() -> None:
    SPACE.check_coverage(label_table().labels)


def test_order_of_a_label_string_does_not_matter() -> None:
    assert parse("Mass|Effusion") == parse("Effusion|Mass") == {"Mass", "Effusion"}
    assert describe(parse("Mass|Effusion")) == "Effusion|Mass"
    assert describe(parse("No Finding")) == "No Finding"


def test_labels_and_sets_are_inverse() -> None:
    sets = [frozenset[str](), frozenset({"Hernia"}), frozenset(FINDINGS)]
    assert [to_set(row) for row in to_labels(sets).tolist()] == sets


@pytest.mark.parametrize("text", ["Effusions", "Effusion|", "", "No Finding|Mass"])
def test_an_unknown_or_contradicting_label_is_named(text: str) -> None:
    with pytest.raises(FindingError, match="finding"):
        parse(text)


def test_draws_follow_the_counts(generator: torch.Generator) -> None:
    sets = LabelSets(to_labels([set(), {"Mass"}, {"Mass", "Edema"}]), torch.tensor([70, 20, 10]))
    drawn = LabelSets.from_labels(sets.draw(20_000, generator))
    shares = {
        describe(to_set(y)): n / 20_000 for y, n in zip(drawn.labels.tolist(), drawn.counts.tolist(), strict=True)
    }
    for name, share in {"No Finding": 0.7, "Mass": 0.2, "Edema|Mass": 0.1}.items():
        assert shares[name] == pytest.approx(share, abs=0.015)  # over four standard errors


@pytest.mark.parametrize("share", [0.0, 1.5])
def test_a_share_is_a_share(share: float) -> None:
    with pytest.raises(ValueError, match="above 0"):
        label_table().feasible(share)


def test_a_share_that_no_set_has() -> None:
    with pytest.raises(ValueError, match="smaller share"):
        label_table().feasible(0.9)
