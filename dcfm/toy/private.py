"""What differential privacy costs on the toy: the share of samples in the novel mode against epsilon.

A *cell* is a method, a noise multiplier (``None`` trains without privacy) and a seed; its record lies in
``out/<method>/noise_<sigma>/seed<seed>/record.json``. DCFM-B is private in Stage I, and all that follows is made of
what Stage I gave; FedFlow+L is private in every round, and its epsilon is that of all rounds. Label histograms pass as
they are; where they are to be private as well, their epsilon is added. DCFM-B is sampled by its own velocity, FedFlow+L
by Eq. 5, as fixed beforehand.
"""

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, Final

import torch
from matplotlib.figure import Figure

from dcfm.artefacts import atomically, git_revision
from dcfm.decentralized import Federation
from dcfm.methods import registry
from dcfm.methods.method import Recipe
from dcfm.metrics.intervals import mean_interval
from dcfm.privacy.settings import PrivacyConfig
from dcfm.records import read_json, write_json
from dcfm.runs import privacy_of
from dcfm.task import frozen_networks
from dcfm.toy.problem import ProblemSettings, make_problem
from dcfm.toy.score import Sampling, hits, sample
from dcfm.toy.task import ToyTask
from dcfm.toy.training import Training

RULES: Final = {"dcfm_b": "joint", "fedflow_l": "composed"}
"""The methods of the curve and how they are sampled."""


@dataclass(frozen=True)
class PrivateCell:
    """One training.

    Args:
        method: ``dcfm_b`` or ``fedflow_l``.
        noise: the multiplier, or ``None`` for no privacy.
        clip: the largest norm of a sample's gradient.
        delta: of the reported epsilon.
        problem: its seed is also that of training and sampling.
        training: of the toy.
        sampling: of the scores.

    Raises:
        ValueError: another method, or a value out of range.
    """

    method: str
    noise: float | None
    clip: float
    delta: float
    problem: ProblemSettings
    training: Training
    sampling: Sampling

    def __post_init__(self) -> None:
        if self.method not in RULES:
            raise ValueError(f"method {self.method!r} has no private training here; choose of {', '.join(RULES)}")
        self.recipe()

    @property
    def privacy(self) -> PrivacyConfig | None:
        """Drawn from the seed: an experiment that can be repeated protects nobody."""
        return None if self.noise is None else PrivacyConfig(self.noise, self.clip, self.delta, secret=False)

    def recipe(self) -> Recipe:
        """The training's, private where it sees data."""
        recipe = self.training.recipe()
        return replace(
            recipe,
            stage_one=replace(recipe.stage_one, privacy=self.privacy),
            fedavg=replace(recipe.fedavg, privacy=self.privacy),
        )

    def folder(self, out: Path) -> Path:
        return out / self.method / f"noise_{self.noise}" / f"seed{self.problem.seed}"

    def settings(self) -> dict[str, Any]:
        return json.loads(json.dumps(asdict(self)))


def run(cells: Sequence[PrivateCell], out: Path, progress: Callable[[], object] | None = None) -> list[dict[str, Any]]:
    """All records in order; those that lie in ``out`` already are read.

    Raises:
        ValueError: before any work: a problem that cannot be made, or records of other settings.
    """
    for cell in cells:
        problem = make_problem(cell.problem)
        privacy_of(registry.make(cell.method), cell.recipe(), problem.silos)  # are the silos large enough?
        path = cell.folder(out) / "record.json"
        if path.exists() and _read(path)["settings"] != cell.settings():
            raise ValueError(f"{path} is of other settings; remove {out}, or choose another out=")
    records = []
    for cell in cells:
        path = cell.folder(out) / "record.json"
        if not path.exists():
            write_json(path, train_and_score(cell, cell.folder(out)))
        records.append(_read(path))
        if progress is not None:
            progress()
    return records


def _read(path: Path) -> dict[str, Any]:
    keys = ("settings", "method", "noise", "seed", "epsilon", "known", "novel")
    return read_json(path, "remove it, and its training is scored again", keys)


def train_and_score(cell: PrivateCell, folder: Path) -> dict[str, Any]:
    """A cell's record: shares in the queried modes, and the largest epsilon of any silo."""
    problem, recipe = make_problem(cell.problem), cell.recipe()
    task = ToyTask(problem.mixture.attributes, cell.training.width, cell.training.depth)
    federation = Federation(task, problem.silos, folder / "trainings", cell.problem.seed, workers=0)
    method = registry.make(cell.method)
    (weights,) = method.train(federation, recipe, federation.exchange())
    field = method.field(frozen_networks(task, [weights]), federation.histograms, task.space.null, RULES[cell.method])
    generator = torch.Generator().manual_seed(1_000_003 * (cell.problem.seed + 1))
    shares = {}
    for name, combinations in (("known", problem.observed), ("novel", problem.missing)):
        inside = hits(problem.mixture, combinations, sample(field, combinations, cell.sampling, generator))
        shares[name] = float(inside.double().mean())
    record = {"settings": cell.settings(), "method": cell.method, "noise": cell.noise, "seed": cell.problem.seed}
    record["git_revision"] = git_revision()
    costs = privacy_of(method, recipe, problem.silos)
    return record | {"epsilon": None if costs is None else max(cost["epsilon"] for cost in costs.values())} | shares


def summarise(records: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """By method and noise: the largest epsilon, and mean share with its 95 % t-interval over seeds."""
    points = []
    for method, noise in dict.fromkeys((r["method"], r["noise"]) for r in records):
        rows = [r for r in records if (r["method"], r["noise"]) == (method, noise)]
        point: dict[str, Any] = {"method": method, "noise": noise, "seeds": [r["seed"] for r in rows]}
        point["epsilon"] = None if noise is None else max(r["epsilon"] for r in rows)
        for name in ("known", "novel"):
            found = mean_interval(values := [r[name] for r in rows])
            ends = {end: min(max(0.0, found[end]), 1.0) if end in found else None for end in ("low", "high")}
            point[name] = {"mean": found["mean"], **ends, "values": values}
        points.append(point)
    return points


def table(points: Sequence[Mapping[str, Any]]) -> str:
    """The curve as a Markdown table."""

    def cell(share: Mapping[str, Any]) -> str:
        text = f"{100 * share['mean']:.1f}"
        return text if share["low"] is None else f"{text} [{100 * share['low']:.1f}, {100 * share['high']:.1f}]"

    lines = ["| method | noise multiplier | epsilon | known, % | novel, % | seeds |", "|---|---|---|---|---|---|"]
    for p in points:
        noise, epsilon = ("none", "none") if p["noise"] is None else (f"{p['noise']:g}", f"{p['epsilon']:.2f}")
        title = registry.make(p["method"]).title
        lines.append(f"| {title} | {noise} | {epsilon} | {cell(p['known'])} | {cell(p['novel'])} | {len(p['seeds'])} |")
    return "\n".join(lines) + "\n"


def draw(points: Sequence[Mapping[str, Any]], path: Path) -> None:
    """Shares against epsilon; dashed what the same training reaches without privacy."""
    figure = Figure(figsize=(8, 3.2), layout="constrained")
    axes = figure.subplots(1, 2, sharey=True)
    for axis, name in zip(axes, ("known", "novel"), strict=True):
        for i, method in enumerate(dict.fromkeys(p["method"] for p in points)):
            rows = sorted(
                (p for p in points if p["method"] == method and p["noise"] is not None), key=lambda p: p["epsilon"]
            )
            title = registry.make(method).title
            for p in (p for p in points if p["method"] == method and p["noise"] is None):
                axis.axhline(p[name]["mean"], color=f"C{i}", linestyle="--", linewidth=0.8)
            axis.plot([p["epsilon"] for p in rows], [p[name]["mean"] for p in rows], f"C{i}o-", label=title, ms=4)
            for p in (p for p in rows if p[name]["low"] is not None):
                axis.plot([p["epsilon"]] * 2, [p[name]["low"], p[name]["high"]], color=f"C{i}", linewidth=1)
        axis.set(xscale="log", xlabel="epsilon of a sample", ylim=(0, 1.02), title=f"{name} combinations")
    axes[0].set_ylabel("share in the queried mode")
    if any(p["noise"] is None for p in points):
        axes[0].plot([], [], color="0.4", linestyle="--", linewidth=0.8, label="without noise")
    axes[0].legend()
    with atomically(path) as temporary:
        figure.savefig(temporary, dpi=100)
