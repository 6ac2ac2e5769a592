"""Model cards: a ``README.md`` beside a model's weights, made from the artefact itself and from recorded results.

The front matter follows Hugging Face's model cards (``license``, ``tags``, ``model-index``); the text says what the
model is, what it was trained on, what was measured by which command on how much, and where it must not be trusted.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import yaml
from safetensors import safe_open

from dcfm import artefacts

CARD: Final = "README.md"


@dataclass(frozen=True)
class Measured:
    """A figure of a card.

    Args:
        what: e.g. ``success, novel pairs``.
        value, low, high: the figure and its 95 % interval.
        n: how many trials, pictures or the like it rests on.
        command: that measured it.
        unit: behind the figures.
    """

    what: str
    value: float
    low: float
    high: float
    n: int
    command: str
    unit: str = "%"


@dataclass(frozen=True)
class Card:
    """What a card says beyond what the artefact knows.

    Args:
        title: of the model.
        summary: what it does, and how it was trained.
        use: code that loads it.
        data: what it learned from.
        limits: one thing each.
        task, dataset: of the front matter's ``model-index``.
        measured: figures; none: the card says that there are none.
        tags: of the front matter.
    """

    title: str
    summary: str
    use: str
    data: str
    limits: Sequence[str]
    task: str
    dataset: str
    measured: Sequence[Measured] = ()
    tags: Sequence[str] = ("flow-matching",)


def write_card(folder: Path, card: Card) -> None:
    """Write the card of the artefact in ``folder``.

    Raises:
        dcfm.artefacts.ArtefactError: there is none, or it is damaged.
    """
    artefacts.write_text_atomically(folder / CARD, card_text(folder, card))


def card_text(folder: Path, card: Card) -> str:
    """The card as Markdown; see :func:`write_card`."""
    metadata = artefacts.load(folder).metadata
    header = {"license": "mit", "library_name": "dcfm", "tags": list(card.tags)}
    if card.measured:
        metrics = [{"type": m.what, "value": round(m.value, 4), "name": f"{m.unit}, n = {m.n}"} for m in card.measured]
        place = {"task": {"type": card.task}, "dataset": {"type": card.dataset, "name": card.dataset}}
        header["model-index"] = [{"name": card.title, "results": [place | {"metrics": metrics}]}]
    rows = [
        f"| {m.what} | {m.value:.4g} [{m.low:.4g}, {m.high:.4g}] {m.unit} | {m.n:,} | `{m.command}` |".replace(
            "  ", " "
        )
        for m in card.measured
    ]
    table = ["| what | value [95 % interval] | n | command |", "| :-- | --: | --: | :-- |", *rows]
    parts = [
        f"---\n{yaml.safe_dump(header, sort_keys=False, allow_unicode=True)}---",
        f"# {card.title}",
        card.summary,
        f"```python\n{card.use.strip()}\n```",
        f"## Data\n\n{card.data}",
        "## Measured\n\n" + ("\n".join(table) if rows else "Nothing yet."),
        "## Limits\n\n" + "\n".join(f"- {limit}" for limit in card.limits),
        "## Files\n\n" + _files(folder, metadata),
    ]
    return "\n\n".join(parts) + "\n"


def _files(folder: Path, metadata: Mapping[str, Any]) -> str:
    with safe_open(folder / artefacts.MODEL, framework="pt") as file:
        parameters = sum(math.prod(file.get_slice(name).get_shape()) for name in file.keys())  # noqa: SIM118
    kind = "float16" if metadata["half"] else "float32"
    lines = [
        f"- `{artefacts.MODEL}`: {parameters:,} numbers, {kind}, SHA-256 `{metadata['files'][artefacts.MODEL]}`",
        f"- `{artefacts.CONFIG}`: every setting of the training; `{artefacts.MANIFEST}`: hashes and measurements",
        f"- made by {metadata['created_by']}, revision `{metadata['git_revision']}`",
    ]
    if metadata["data_hash"]:
        lines.append(f"- hash of the training data: `{metadata['data_hash']}`")
    return "\n".join(lines) + "\n\nThis page is generated: `python scripts/model_cards.py`."
