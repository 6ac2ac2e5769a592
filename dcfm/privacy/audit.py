"""The audit of a trained model: membership inference and nearest neighbours, on what its silos held and on new samples.

A kind of model is one function ``read(config) -> Subject`` in a module of its package, and one YAML file in
``configs/subject`` that names the function under ``reader`` and lists the kind's settings.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import torch
from hydra.errors import HydraException
from hydra.utils import get_method
from jaxtyping import Int
from omegaconf import DictConfig
from torch import Tensor

from dcfm.artefacts import MODEL
from dcfm.fields import Field
from dcfm.privacy.membership import TIMES, Contest, matching_scores
from dcfm.privacy.neighbours import Samples, joined, neighbour_test
from dcfm.published import Published
from dcfm.silos import Silo
from dcfm.solvers import integrate
from dcfm.task import Task

APART: Final = 982_451_653
"""Added to the audit's seed: noise equal to that of data made from the same seed would find copies where none are."""


@dataclass(frozen=True, eq=False)
class Target:
    """One trained field and the samples that are told apart.

    Attributes:
        name: e.g. ``student`` or ``robot0's expert``.
        field: answers whole labels.
        training: what it was trained on, directly or through its teachers.
        heldout: new samples of the same source, in no silo.
    """

    name: str
    field: Field
    training: Samples
    heldout: Samples


@dataclass(frozen=True, eq=False)
class Subject:
    """A model under audit.

    Attributes:
        targets: its fields.
        facts: about model and data, plain values, for the record.
        steps: of the midpoint solver, for generated samples.
    """

    targets: Sequence[Target]
    facts: Mapping[str, Any]
    steps: int


def read_subject(config: DictConfig) -> Subject:
    """The model that the configuration describes.

    Raises:
        ValueError: no such reader, or settings that cannot be.
    """
    try:
        reader = get_method(config.reader)
    except (HydraException, ImportError, AttributeError) as error:
        raise ValueError(f"reader={config.get('reader')!r} is not the name of a function: {error}") from error
    subject = reader(config)
    if not isinstance(subject, Subject):
        raise ValueError(f"reader={config.reader!r} gives a {type(subject).__name__}, which is no audit Subject")
    return subject


def check_counts(section: str, **counts: int) -> None:
    """Raise ``ValueError`` where a key of a subject's section, a number of something, is below 1."""
    for name, count in counts.items():
        if count < 1:
            raise ValueError(f"{section}.{name}={count}; it must be at least 1")


def make_targets(
    networks: Sequence[Field],
    silos: Sequence[Silo],
    heldout: Samples,
    task: Task | None = None,
    sources: Sequence[Int[Tensor, " _"]] | None = None,
) -> list[Target]:
    """One target for a network that all silos' samples went into, or one for each silo's own.

    Args:
        networks: trained; one, or one a silo.
        silos: what they were trained on.
        heldout: new samples in the coordinates that are generated.
        task: brings the silos' samples into these coordinates, where they are stored otherwise.
        sources: of each silo's samples, see :class:`~dcfm.privacy.neighbours.Samples`.
    """

    def samples(silo: Silo, own: Int[Tensor, " _"] | None) -> Samples:
        x = silo.data if task is None else task.prepare(silo.data, silo.labels)
        return Samples(x, silo.labels, own)

    own = [samples(*pair) for pair in zip(silos, sources or [None] * len(silos), strict=True)]
    if len(networks) == 1:
        return [Target("all silos' network", networks[0], joined(own), heldout)]
    return [
        Target(f"{silo.name}'s expert", network, samples, heldout)
        for silo, network, samples in zip(silos, networks, own, strict=True)
    ]


def describe_model(name: str, model: Published) -> dict[str, Any]:
    """What the record of an audit says of any published model."""
    return {
        "model": name,
        "method": model.name,
        "partition": model.partition,
        "weights_sha256": model.metadata["files"][MODEL],
        "samples_trained_on": sum(h.total for h in model.histograms),
        "parameters": sum(p.numel() for p in model.networks[0].parameters()),
    }


@dataclass(frozen=True)
class AuditSettings:
    """How much work an audit does.

    Args:
        noises: draws of noise at each time of the attack.
        most: training samples that are attacked, drawn at random where there are more.
        generated: samples that are generated for the neighbours, with labels in the held-out samples' proportions.
        seed: of all of it.

    Raises:
        ValueError: a number below 1, or one that is not whole.
    """

    noises: int = 4
    most: int = 5000
    generated: int = 1000
    seed: int = 0

    def __post_init__(self) -> None:
        if any(type(number) is not int for number in (self.noises, self.most, self.generated, self.seed)):
            raise ValueError(f"noises, most, generated and seed must be whole numbers: {self}")
        if min(self.noises, self.most, self.generated) < 1 or self.seed < 0:
            raise ValueError(f"noises, most and generated must be at least 1, the seed at least 0: {self}")


def audit(
    subject: Subject, settings: AuditSettings, progress: Callable[[], object] | None = None
) -> list[dict[str, Any]]:
    """One record a target; ``progress`` is called after each."""
    records = []
    for target in subject.targets:
        record = {"target": target.name, "membership": attack(target, settings)}
        generated = generate(target, subject.steps, settings)
        record["neighbours"] = neighbour_test(generated, target.training, target.heldout, seed=settings.seed)
        records.append(record)
        if progress is not None:
            progress()
    return records


def attack(target: Target, settings: AuditSettings) -> dict[str, Any]:
    """The attack by the mean loss over all times, as was chosen beforehand; and the AUC at each time alone."""
    generator = torch.Generator().manual_seed(settings.seed)
    rows = torch.randperm(len(target.training), generator=generator)[: settings.most]
    members, others = target.training[rows], target.heldout

    def contest(a: Tensor, b: Tensor) -> Mapping[str, Any]:
        sources = None
        if members.sources is not None and others.sources is not None:
            sources = members.sources, others.sources
        return Contest.of(a, b, members.y, others.y, sources).result(settings.seed)

    first, second = (
        matching_scores(target.field, part.x, part.y, noises=settings.noises, seed=settings.seed + APART)
        for part in (members, others)
    )
    by_time = {f"{t:g}": contest(a, b)["auc"] for t, a, b in zip(TIMES, first, second, strict=True)}
    return {**contest(first.mean(0), second.mean(0)), "auc_by_time": by_time}


@torch.no_grad()
def generate(target: Target, steps: int, settings: AuditSettings) -> Samples:
    """Generated samples of the combinations that the training data has, in the held-out labels' proportions."""
    held = (target.heldout.y[:, None] == torch.unique(target.training.y, dim=0)).all(-1).any(1)
    labels = target.heldout.y[held]
    # Held-out samples may be sorted by combination: the first labels alone would be of few combinations.
    labels = labels[torch.randperm(len(labels), generator=torch.Generator().manual_seed(settings.seed))]
    labels = labels.repeat(-(-settings.generated // len(labels)), 1)[: settings.generated]
    generator = torch.Generator().manual_seed(settings.seed + APART)
    parts = []
    for y in labels.split(64):
        noise = torch.randn(len(y), *target.training.x.shape[1:], generator=generator)
        parts.append(integrate(target.field, noise, y, steps=steps))
    return Samples(torch.cat(parts), labels)


def table(records: Sequence[Mapping[str, Any]]) -> str:
    """The records as text: share or AUC with its 95 % interval."""

    def cell(estimate: Mapping[str, float] | None) -> str:
        if estimate is None:
            return "too few"
        if estimate.get("too_few"):
            return f"{estimate['value']:.3f} (too few)"
        return f"{estimate['value']:.3f} [{estimate['low']:.3f}, {estimate['high']:.3f}]"

    head = ("target", "members", "others", "AUC", "TPR at 1 % FPR", "nearer to training", "p", "copies", "of held-out")
    rows: list[tuple[str, ...]] = [head]
    for record in records:
        m, n = record["membership"], record["neighbours"]
        near = n["nearer_to_training"]
        cells = [cell(m["auc"]), cell(m.get("tpr_at_fpr_0.01")), cell(near), f"{near['p']:.4f}"]
        cells += [f"{n['copies_of_as_many'][key]:.3f}" for key in ("training", "held_out")]
        rows.append((record["target"], str(m["members"]), str(m["non_members"]), *cells))
    widths = [max(len(row[i]) for row in rows) for i in range(len(head))]
    return "\n".join("  ".join(c.ljust(w) for c, w in zip(row, widths, strict=True)).rstrip() for row in rows)
