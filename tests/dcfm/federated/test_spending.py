"""A silo's own account: parts of different noise compose, a kept network counts once, older files are not forgotten."""

import json
import logging
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict
from pathlib import Path

import pytest

from dcfm.federated.spending import Part, note
from dcfm.privacy.accounting import epsilon, spent
from dcfm.privacy.settings import PrivacyConfig

DELTA = 1e-5


def test_runs_with_other_noise_add_up(tmp_path: Path) -> None:
    """Little noise first, much after: what the first cost is not reckoned at the second's noise."""
    path = tmp_path / "work" / "privacy.json"
    for part in (Part(0.5, 0.032, 600), Part(0.5, 0.032, 400), Part(8.0, 0.05, 10)):
        note(path, part, DELTA)
    found = json.loads(path.read_text())
    assert found["epsilon"] == epsilon([(0.5, 0.032, 1000), (8.0, 0.05, 10)], DELTA)
    assert found["epsilon"] >= epsilon([(0.5, 0.032, 1000)], DELTA)
    assert (found["steps"], found["delta"]) == (1010, DELTA)
    assert found["parts"] == [asdict(Part(0.5, 0.032, 1000)), asdict(Part(8.0, 0.05, 10))]


def test_a_network_that_is_given_again_counts_once(tmp_path: Path) -> None:
    path = tmp_path / "privacy.json"
    for network in ("a", "a", "b"):
        note(path, Part(1.0, 0.1, 7, network), DELTA)
    assert [part["network"] for part in json.loads(path.read_text())["parts"]] == ["a", "b"]
    assert json.loads(path.read_text())["epsilon"] == pytest.approx(epsilon([(1.0, 0.1, 14)], DELTA))


def test_an_older_file_counts_as_what_it_states(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    path = tmp_path / "privacy.json"
    path.write_text(json.dumps(asdict(spent(PrivacyConfig(0.5), 2000, 64, 1000))))
    with caplog.at_level(logging.WARNING):
        note(path, Part(8.0, 0.032, 10), DELTA)
    assert json.loads(path.read_text())["epsilon"] == epsilon([(0.5, 0.032, 1000), (8.0, 0.032, 10)], DELTA)
    assert "taken at its word" in caplog.text


@pytest.mark.parametrize("text", ["{", "{}", "[]", '{"parts": [{"steps": 3}]}'])
def test_a_damaged_file_is_no_clean_slate(text: str, tmp_path: Path) -> None:
    path = tmp_path / "privacy.json"
    path.write_text(text)
    with pytest.raises(ValueError, match="does not tell what this silo has spent"):
        note(path, Part(1.0, 0.1, 1), DELTA)
    assert path.read_text() == text


def _note_ten(path: Path) -> None:
    for _ in range(10):
        note(path, Part(1.0, 0.1, 10), DELTA)


def test_two_that_note_at_once_lose_nothing(tmp_path: Path) -> None:
    path = tmp_path / "privacy.json"
    with ThreadPoolExecutor(2) as pool:
        list(pool.map(_note_ten, [path, path]))
    assert json.loads(path.read_text())["steps"] == 200
