"""The phantom: seeded, one look a patient, and every finding its own visible change."""

import pytest
import torch
from torch import Tensor

from dcfm_xray import sources
from dcfm_xray.findings import FINDINGS, to_labels
from dcfm_xray.phantom import DRAWING, draw_phantoms
from dcfm_xray.sources import PhantomSource

NUMBER = 6


def pictures(findings: set[str], size: int = 48, first: int = 0) -> Tensor:
    numbers = torch.arange(NUMBER) + first
    return draw_phantoms(to_labels([findings] * NUMBER), numbers, numbers + 100, size).float() / 255


def change(findings: set[str], beside: set[str] = frozenset()) -> Tensor:  # type: ignore[assignment]
    return pictures(findings | beside) - pictures(set(beside))


def test_a_picture_depends_on_its_own_numbers_alone() -> None:
    labels = to_labels([{"Mass"}, set(), {"Edema", "Hernia"}])
    patients, seeds = torch.tensor([3, 1, 2]), torch.tensor([7, 8, 9])
    together = draw_phantoms(labels, patients, seeds, 32)
    for i in range(3):
        alone = draw_phantoms(labels[i : i + 1], patients[i : i + 1], seeds[i : i + 1], 32)
        assert torch.equal(together[i], alone[0])


def test_a_patient_looks_alike_and_differs_from_others() -> None:
    labels = to_labels([set()] * 8)
    same = draw_phantoms(labels, torch.full((8,), 5), torch.arange(8), 48).float()
    others = draw_phantoms(labels, torch.arange(8), torch.arange(8), 48).float()
    # Averages over images: what is left is the anatomy.
    assert others.std(0).mean() > 1.3 * same.std(0).mean()


@pytest.mark.parametrize("finding", FINDINGS)
def test_a_finding_can_be_seen(finding: str) -> None:
    seen = change({finding}).abs()
    # Far above the noise in some pixels of every picture, though not all over it.
    assert (seen.flatten(1).max(1).values > 0.12).all()
    assert float((seen > 0.03).float().mean()) < 0.6


@pytest.mark.parametrize("finding", FINDINGS)
def test_a_finding_can_be_seen_at_the_lowest_resolution(finding: str) -> None:
    with_it, without = pictures({finding}, size=32), pictures(set(), size=32)
    assert ((with_it - without).abs().flatten(1).max(1).values > 0.05).all()


def test_findings_look_different() -> None:
    changes = torch.stack([change({name}).mean(0).flatten() for name in FINDINGS])
    alike = torch.corrcoef(changes).fill_diagonal_(0)
    first, second = divmod(int(alike.argmax()), len(FINDINGS))
    assert float(alike.max()) < 0.9, f"{FINDINGS[first]} looks like {FINDINGS[second]}"


@pytest.mark.parametrize(("finding", "beside"), [("Mass", "Effusion"), ("Nodule", "Edema"), ("Hernia", "Cardiomegaly")])
def test_one_more_finding_leaves_the_others_where_they_are(finding: str, beside: str) -> None:
    alone, together = change({finding}), change({finding}, {beside})
    strong = alone.abs() > 0.15
    assert float((together[strong].abs() > 0.05).float().mean()) > 0.5


def test_a_finding_is_on_either_side() -> None:
    seen = change({"Mass"}).abs()
    left, right = seen[:, :, :24].sum((1, 2)), seen[:, :, 24:].sum((1, 2))
    assert (left > right).any()
    assert (right > left).any()


def test_emphysema_flattens_and_darkens() -> None:
    assert float(change({"Emphysema"}).mean()) < -0.01


def test_cardiomegaly_widens_the_heart_alone() -> None:
    seen = change({"Cardiomegaly"})
    assert float(seen.mean()) > 0
    assert float(seen[:, :16].abs().max()) < 1e-6  # nothing above the heart


def test_too_small_a_picture_or_numbers_that_do_not_fit() -> None:
    one = torch.zeros(1, dtype=torch.long)
    with pytest.raises(ValueError, match="at least 32"):
        draw_phantoms(to_labels([set()]), one, one, 16)
    with pytest.raises(ValueError, match="one of each"):
        draw_phantoms(to_labels([set(), set()]), one, one, 32)


def test_no_pictures() -> None:
    none = torch.zeros(0, dtype=torch.long)
    assert draw_phantoms(to_labels([])[:0], none, none, 32).shape == (0, 32, 32)


DRAWN = {
    "": (88.8, 44.0),
    "Atelectasis": (90.4, 44.5),
    "Cardiomegaly": (91.6, 44.9),
    "Consolidation": (91.2, 44.1),
    "Edema": (98.9, 44.0),
    "Effusion": (91.3, 45.5),
    "Emphysema": (63.3, 43.5),
    "Fibrosis": (94.8, 45.3),
    "Hernia": (88.2, 43.3),
    "Infiltration": (90.6, 44.2),
    "Mass": (90.5, 44.8),
    "Nodule": (89.3, 44.4),
    "Pleural_Thickening": (91.0, 44.8),
    "Pneumonia": (93.9, 44.2),
    "Pneumothorax": (87.2, 45.7),
}
"""Mean and standard deviation of four pictures' grey levels, as :data:`~dcfm_xray.phantom.DRAWING` 1 draws them."""


def test_another_drawing_has_another_number() -> None:
    """Where this fails, count ``DRAWING`` up and write what is drawn now: caches know phantoms by that number."""
    assert DRAWING == 1
    numbers = torch.arange(4)
    for finding, (mean, deviation) in DRAWN.items():
        found = draw_phantoms(to_labels([{finding} - {""}] * 4), numbers, numbers + 100, 32).float()
        assert float(found.mean()) == pytest.approx(mean, abs=0.15), finding
        assert float(found.std()) == pytest.approx(deviation, abs=0.15), finding
    assert set(DRAWN) == {"", *FINDINGS}


def test_a_source_is_known_by_how_it_is_drawn(monkeypatch: pytest.MonkeyPatch) -> None:
    source = PhantomSource(20, 0)
    before = source.fingerprint
    monkeypatch.setattr(sources, "DRAWING", 2)
    assert source.fingerprint != before
