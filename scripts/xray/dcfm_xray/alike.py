"""Whether rows of a table can be compared: judged on the same pictures, by the same classifier and settings. Warnings
where not."""

from collections.abc import Mapping, Sequence
from typing import Any, Final

from dcfm_xray.real import REAL

JUDGED_BY: Final = {
    "test_sha256": "test pictures",
    "judge_sha256": "classifiers of real pictures",
    "data_sha256": "the silos' data",
}
"""What two evaluations after one training seed must have in common to be compared, by its name in their metrics; the
data of a private training are not told."""


def other_judges(found: Mapping[str, Mapping[int, Any]]) -> list[str]:
    """A warning if a training's row of real pictures is of another classifier than the one that judged other rows."""
    other = []
    for seed, real in found[REAL].items():
        for method, by_seed in found.items():
            hashes = {real.get("classifier_sha256"), by_seed.get(seed, {}).get("judge_sha256")}
            if len(hashes - {None}) == 2:  # metrics of before name neither
                other.append(f"{method}, seed {seed}")
    if not other:
        return []
    judged = "; ".join(other)
    return [f"the row of real pictures is of another classifier than the one that judged {judged}; they do not compare"]


def paired(one: Mapping[str, Any], other: Mapping[str, Any]) -> bool:
    """Whether two evaluations' draws belong together, as far as both name what they judged by; those of before name
    less."""
    told = [(one.get(name), other.get(name)) for name in JUDGED_BY]
    return all(a == b for a, b in told if a is not None and b is not None)


def unlike(found: Mapping[str, Sequence[Mapping[str, Any]]]) -> list[str]:
    """A warning a setting of the evaluation that is not the same in all metrics that name it, with who has what."""
    values: dict[str, dict[str, list[str]]] = {}
    for method, every in found.items():
        for metrics in every:
            given = {"size": metrics["size"]} if "size" in metrics else {}
            for name, value in _flat(given | metrics.get("settings", {})).items():
                values.setdefault(name, {}).setdefault(str(value), []).append(method)
    return [
        f"{name} differs between rows: "
        + "; ".join(f"{value} ({', '.join(dict.fromkeys(methods))})" for value, methods in held.items())
        + "; they cannot be compared"
        for name, held in values.items()
        if len(held) > 1
    ]


def _flat(settings: Mapping[str, Any], before: str = "") -> dict[str, Any]:
    """Settings of settings as ``classifier.loop.steps``."""
    found: dict[str, Any] = {}
    for name, value in settings.items():
        found |= _flat(value, f"{before}{name}.") if isinstance(value, Mapping) else {before + name: value}
    return found
