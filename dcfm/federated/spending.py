"""What a silo's private trainings cost it in all, in a file of its own: runs add up, whatever noise each had.

A *part* is what trained with one noise at one sampling rate. The epsilon is that of all parts in a row on the same
samples (:func:`dcfm.privacy.accounting.epsilon`), at the delta of the last; a sample that was not there for all of them
spent less.
"""

import json
import logging
from dataclasses import asdict, dataclass, replace
from pathlib import Path

from dcfm import locks
from dcfm.privacy.accounting import epsilon
from dcfm.records import write_json

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Part:
    """Private steps of one kind.

    Args:
        noise_multiplier: of the noise.
        rate: probability that a sample takes part in a step.
        steps: how many.
        network: of a training that is kept and given again instead of repeated, its fingerprint: it counts once.
    """

    noise_multiplier: float
    rate: float
    steps: int
    network: str = ""


def note(path: Path, part: Part, delta: float) -> None:
    """Add a part to those that the file counts, and write what all cost.

    Raises:
        ValueError: the file does not tell what was spent before.
    """
    with locks.alone(path.with_name(f".{path.name}.lock")):  # two SuperNodes of one silo may note at once
        _note(path, part, delta)


def _note(path: Path, part: Part, delta: float) -> None:
    parts = _read(path) if path.exists() else []
    if part.network and part.network in {other.network for other in parts}:
        return
    same = [other for other in parts if replace(other, steps=part.steps) == part]
    rest = [other for other in parts if other not in same]
    parts = [*rest, replace(part, steps=part.steps + sum(other.steps for other in same))]
    cost = epsilon([(p.noise_multiplier, p.rate, p.steps) for p in parts], delta)
    total = {"epsilon": cost, "delta": delta, "steps": sum(p.steps for p in parts)}
    write_json(path, total | {"parts": [asdict(p) for p in parts]})


def _read(path: Path) -> list[Part]:
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
        if "parts" in found:
            return [Part(**part) for part in found["parts"]]
        stated = Part(found["noise_multiplier"], found["rate"], found["steps"])
    except (ValueError, TypeError, KeyError) as error:
        raise ValueError(
            f"{path} does not tell what this silo has spent ({error!r}); bring a copy of it back, or mend it: without "
            "it the epsilon would be too small"
        ) from error
    log.warning(
        "%s is of an older version, which counted all steps at the noise, batch and data of the last run: it is taken "
        "at its word; if they ever changed, write the earlier runs into its parts",
        path,
    )
    return [stated]
