"""What every trainer's step evaluates is what its formula says."""

import pytest

from dcfm.metrics.cost import computation
from dcfm.metrics.cost.computation import Evaluations
from dcfm.metrics.cost.steps import measure_step
from dcfm.metrics.cost.trainers import TRAINERS


@pytest.mark.parametrize("k", [2, 3])
@pytest.mark.parametrize("name", TRAINERS)
def test_counted_equals_formula(name: str, k: int) -> None:
    row = measure_step(name, k)
    assert row.equal is True
    assert row.measured.backward <= row.measured.forward
    if row.equal_paper is False:
        assert row.why, "a number that is not the paper's needs its reason"


def test_two_attributes_by_hand() -> None:
    """Five evaluations of local CI: masked labels, then joint, unconditional and two marginals."""
    assert measure_step("flow matching alone", 2).measured == Evaluations(1, 1)
    assert measure_step("local CI, own labels", 2).measured == Evaluations(5, 5)
    assert measure_step("DCFM-B, a point used twice", 2).measured == Evaluations(5.5, 5)


def test_many_attributes() -> None:
    assert measure_step("local CI, own labels", 14).measured == Evaluations(17, 17)
    assert measure_step("local CI, pairwise", 14).measured == Evaluations(5, 5)


@pytest.mark.parametrize("k", [2, 14])
def test_where_teachers_compose_the_student_goes_back_through_two_evaluations_alone(k: int) -> None:
    """Its masked labels on the batch, and the contrast's last label on half of it; four steps to each point, four
    labels there, and half an evaluation for a replayed point are forward only."""
    assert measure_step("DCFM-B, contrast, teachers compose", k).measured == Evaluations(1 + (4 + 4) / 2 + 1 / 2, 1.5)


@pytest.mark.parametrize("k", [2, 14])
def test_peers_leave_the_silo_at_least_one_term(k: int) -> None:
    row = measure_step("DCFM-A", k)
    assert row.own_terms is not None
    assert 1 <= row.own_terms.low <= row.own_terms.mean <= row.own_terms.high <= k + 1
    spread = (row.own_terms.high - row.own_terms.low) / 2 / 1.96
    assert 0 < spread < 1.5 * ((k + 1) / 4 / (row.steps * row.batch)) ** 0.5  # a coin's variance is 1/4 at most
    assert row.own_terms.mean == pytest.approx(row.own_terms.expected, abs=5 * spread)
    assert row.measured.backward == pytest.approx(1 + 1 + row.own_terms.mean)


@pytest.mark.parametrize("off", [Evaluations(5, 4), Evaluations(4, 5)])
def test_a_formula_that_is_right_of_one_way_only_is_not_equal(
    off: Evaluations, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(computation, "local_as_run", lambda *_: off)
    assert measure_step("local CI, own labels", 2).equal is False


def test_unknown_trainer() -> None:
    with pytest.raises(ValueError, match="the trainers are flow matching alone"):
        measure_step("gossip", 2)
