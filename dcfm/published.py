"""Trained models as artefacts: what a method's training gave, and what is needed to sample from it again.

An artefact holds one network, or one expert a silo, and the silos' label histograms, which route; and in its
configuration the method, the partition, the task's settings and the training's. Which field the networks make is the
method's affair (:mod:`dcfm.methods`).
"""

import logging
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from jaxtyping import Int
from torch import Tensor, nn

from dcfm import artefacts
from dcfm.attributes import AttributeSpace
from dcfm.fields import Checked, Field
from dcfm.methods import registry
from dcfm.methods.method import Method
from dcfm.methods.sampling import Sampling
from dcfm.records import METHOD
from dcfm.silos import LabelHistogram
from dcfm.task import Task, frozen_networks

log = logging.getLogger(__name__)


class ModelError(ValueError):
    """There is no such trained model, or what is there is not one."""


@dataclass(frozen=True)
class Published:
    """A published model, its networks ready to sample from.

    Attributes:
        method: how the networks make a field.
        name: the method's, in ``configs/registry``.
        partition: how the data was dealt to silos.
        networks: frozen, on the device asked for; one, or one a silo.
        histograms: one a silo.
        task: what was trained.
        config, metadata: of the artefact.
    """

    method: Method
    name: str
    partition: str
    networks: list[nn.Module]
    histograms: list[LabelHistogram]
    task: Task
    config: dict[str, Any]
    metadata: dict[str, Any]

    @property
    def known(self) -> Int[Tensor, "m k"]:
        """The combinations that some silo held, in lexicographic order; all others are novel."""
        return LabelHistogram.merge(self.histograms).combinations

    @property
    def device(self) -> torch.device:
        """Of the networks."""
        return next(self.networks[0].parameters()).device

    def field(self, rule: str = "joint", guidance: tuple[float, ...] | None = None) -> Field:
        """The method's field; see :meth:`dcfm.methods.method.Method.field`.

        Args:
            rule: ``joint`` or ``composed``.
            guidance: weights ``w`` of Eq. 5, one an attribute; all 1 where left out. A combination that is answered
                jointly has no use for them.

        Raises:
            ModelError: not one weight an attribute.
        """
        names = self.task.space.names
        if guidance is not None and len(guidance) != len(names):
            example = ",".join([f"{guidance[0] if guidance else 1.0:g}"] * len(names))
            raise ModelError(
                f"guidance={list(guidance)}: give one weight for each attribute ({', '.join(names)}), e.g. "
                f"'guidance=[{example}]'"
            )
        return self.method.field(self.networks, self.histograms, self.task.space.null, rule, guidance)

    def sampled(self, sampling: Sampling) -> Field:
        """The field of one of :data:`dcfm.methods.sampling.CANDIDATES`, or of another such way; it refuses labels that
        are none of the attribute space's."""
        null = self.task.space.null
        return Checked(sampling.field(self.method, self.networks, self.histograms, null), null)


def resolve_device(device: str) -> torch.device:
    """``auto`` is a GPU where torch sees one, else the CPU.

    Raises:
        ModelError: torch knows no such device, or does not see it.
    """
    if device == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        torch.zeros(1, device=device)
        return torch.device(device)
    except (RuntimeError, AssertionError) as error:
        reason = re.sub(
            r"Expected one of .* device type", "torch knows no such type of device", str(error).splitlines()[0]
        )
        raise ModelError(f"device {device!r} cannot be used ({reason}); use auto or cpu") from error


def publish(
    folder: Path,
    experts: Sequence[Mapping[str, Tensor]],
    histograms: Sequence[LabelHistogram],
    *,
    method: str,
    partition: str,
    task: Mapping[str, Any],
    training: Mapping[str, Any],
    space: AttributeSpace | None = None,
    normalizer: Mapping[str, Any] | None = None,
    data_hash: str | None = None,
    metrics: Mapping[str, Any] | None = None,
) -> None:
    """Write a model's artefact: float16 weights, and everything needed to build and sample it.

    Args:
        folder: where to.
        experts: what the method's training returned: one set of weights, or one a silo.
        histograms: one a silo.
        method: its name in ``configs/registry``.
        partition: how the data was dealt to silos.
        task: plain settings that the task can be built from again.
        training: the resolved configuration of the training, kept for the record.
        space: the attributes by name, so that the model refuses to load for others.
        normalizer: constants that bring raw data to the model's coordinates.
        data_hash: hash of the training data.
        metrics: what is known of it, e.g. what private trainings cost.

    Raises:
        ValueError: no such method.
    """
    registry.make(method)  # a name that nothing loads is an error now
    weights = {f"expert{i}.{name}": value for i, expert in enumerate(experts) for name, value in expert.items()}
    config: dict[str, Any] = {"method": method, METHOD: registry.own_settings(method), "partition": partition}
    if space is not None:
        config["attributes"] = _attributes(space)
    config |= {
        "task": dict(task),
        "silos": [{"combinations": h.combinations.tolist(), "counts": h.counts.tolist()} for h in histograms],
        "training": dict(training),
    }
    artefacts.save(folder, weights, config, normalizer=normalizer, metrics=metrics, data_hash=data_hash, half=True)


def load_published(
    folder: Path,
    build: Callable[[Mapping[str, Any]], Task],
    device: torch.device,
    *,
    what: str,
    check: Callable[[artefacts.Artefact], None] = lambda found: None,
) -> Published:
    """Read what :func:`publish` wrote.

    Args:
        folder: of the artefact.
        build: makes the task from its settings in the artefact.
        device: of the networks.
        what: it should be, for messages, e.g. ``a planner``.
        check: raises an error unless an artefact is what is looked for, before anything is built of it.

    Raises:
        ModelError: an artefact of something else, of another attribute space, or with weights that do not fit.
        dcfm.artefacts.ArtefactError: what is there is truncated or damaged.
    """
    found = artefacts.load(folder)
    config = found.config
    try:
        _ = [config[key] for key in ("task", "silos", "method", "partition")]  # else it is no model at all
        check(found)
        task = build(config["task"])
        check_space(config.get("attributes"), task.space, folder)
        histograms = [
            LabelHistogram(torch.tensor(s["combinations"]), torch.tensor(s["counts"]), task.space.cardinalities)
            for s in config["silos"]
        ]
        method, partition = _method(config), config["partition"]
    except (KeyError, TypeError) as error:
        raise ModelError(f"{folder} is an artefact, but not of {what} ({error!r}); choose another folder") from error
    networks = _networks(found.weights, method.task(task), folder, device)
    model = Published(method, config["method"], partition, networks, histograms, task, config, found.metadata)
    try:
        model.field()
    except ValueError as error:
        raise ModelError(
            f"{folder} holds {len(networks)} networks and {len(histograms)} histograms, of which {model.name} makes no "
            f"field ({error}); publish what its training returned"
        ) from error
    return model


def _method(config: Mapping[str, Any]) -> Method:
    """The registry's method of the model's name. Where its settings were others when the model was published, it is
    told: what is sampled now is not what was judged then."""
    name, kept = config["method"], config.get(METHOD, {})
    now = registry.own_settings(name)
    if changed := {key: (value, now.get(key)) for key, value in kept.items() if now.get(key) != value}:
        told = ", ".join(f"{key}={old!r}, now {new!r}" for key, (old, new) in changed.items())
        log.warning(
            "the registry's %s was another when this model was published (%s); it is sampled as now", name, told
        )
    return registry.make(name)


def publish_task(
    folder: Path,
    experts: Sequence[Mapping[str, Tensor]],
    histograms: Sequence[LabelHistogram],
    task: Task,
    *,
    method: str,
    partition: str,
    training: Mapping[str, Any],
    data_hash: str | None = None,
    metrics: Mapping[str, Any] | None = None,
) -> None:
    """:func:`publish` for a task that is a dataclass of plain settings."""
    settings = asdict(task)  # type: ignore[call-overload] # tasks need not be dataclasses; these are
    publish(
        folder,
        experts,
        histograms,
        method=method,
        partition=partition,
        task=_listed(settings),
        training=training,
        space=task.space,
        data_hash=data_hash,
        metrics=metrics,
    )


def load_task(folder: Path, kind: Callable[..., Task], device: str = "auto", *, what: str, **changes: Any) -> Published:
    """Read what :func:`publish_task` wrote.

    Args:
        folder: of the artefact.
        kind: the task's class.
        device: ``auto``, ``cpu``, ``cuda``.
        what: it should be, for messages, e.g. ``an image model``.
        changes: settings of the task that leave the weights as they are.

    Raises:
        ModelError, dcfm.artefacts.ArtefactError: see :func:`load_published`.
    """

    def build(settings: Mapping[str, Any]) -> Task:
        plain = {name: _tupled(value) for name, value in settings.items()}
        return kind(**{**plain, **changes})

    found = load_published(folder, build, resolve_device(device), what=what)
    if "attributes" not in found.config:
        raise ModelError(f"{folder} is an artefact, but not of {what}; choose another folder")
    return found


def _listed(value: Any) -> Any:
    """Plain settings as JSON has them: its lists for tuples."""
    if isinstance(value, Mapping):
        return {name: _listed(item) for name, item in value.items()}
    return [_listed(item) for item in value] if isinstance(value, tuple | list) else value


def _tupled(value: Any) -> Any:
    """The reverse, of one setting; a task's are tuples, since it is compared and hashed."""
    return tuple(_tupled(item) for item in value) if isinstance(value, list) else value


def of_federation(model: Published) -> bool:
    """Whether a model's silos kept their data (:mod:`dcfm.federated`)."""
    return model.config["training"].get("protocol") is not None


def same_histograms(model: Published, histograms: Sequence[LabelHistogram]) -> bool:
    """Whether a model's silos had these, in this order."""
    return len(histograms) == len(model.histograms) and all(
        torch.equal(one.combinations, other.combinations) and torch.equal(one.counts, other.counts)
        for one, other in zip(histograms, model.histograms, strict=True)
    )


def check_dealt(
    model: Published, histograms: Sequence[LabelHistogram], script: str, otherwise: str = "sample from it"
) -> None:
    """Raise :class:`ModelError` unless silos dealt here from a federation's own settings have the label histograms that
    its silos published: other ones had data of their own, and with them what they did not have is unknown.

    Args:
        model: of a federation, that is to be judged with data that it never saw.
        histograms: of the silos dealt here, in their order.
        script: that trains such a model over silos that it deals itself, for the message.
        otherwise: what else can be done, likewise.
    """
    if not same_histograms(model, histograms):
        raise ModelError(
            f"this model was trained in a federation (protocol={model.config['training']['protocol']}), and what its "
            "settings deal here has other label histograms than its silos published: these had data of their own, or "
            "hid counts, or what was dealt lies elsewhere now. So no samples are known that they did not have, to "
            f"evaluate or audit the model with; {otherwise}, or train {model.name} with {script} and evaluate that"
        )


def check_space(stored: Mapping[str, Sequence[str]] | None, space: AttributeSpace, folder: Path) -> None:
    """Raise :class:`ModelError` if attributes are on record with a model and are not those of ``space``."""
    # With their order: it is that of the labels' columns.
    if stored is not None and [(n, list(v)) for n, v in stored.items()] != list(_attributes(space).items()):
        raise ModelError(
            f"{folder} was trained over the attributes {dict(stored)}, this task has {_attributes(space)}; choose a "
            "model of this task, or train one"
        )


def _attributes(space: AttributeSpace) -> dict[str, list[str]]:
    return {name: list(values) for name, values in zip(space.names, space.values, strict=True)}


def _networks(weights: Mapping[str, Tensor], task: Task, folder: Path, device: torch.device) -> list[nn.Module]:
    number = 1 + max((int(name[6:].split(".")[0]) for name in weights if name.startswith("expert")), default=-1)
    networks = []
    for i in range(number):
        prefix = f"expert{i}."
        own = {k.removeprefix(prefix): v for k, v in weights.items() if k.startswith(prefix)}
        try:
            networks += frozen_networks(task, [own], device)
        except RuntimeError as error:
            raise ModelError(
                f"{folder} holds weights of another architecture than its configuration says "
                f"({str(error).splitlines()[-1].strip()}); copy or train it again"
            ) from error
    if not networks:
        raise ModelError(f"{folder} holds no expert's weights; choose another folder")
    return networks
