"""Model cards of trained planners."""

import json
import shlex
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from dcfm import artefacts
from dcfm.cards import Card, Measured
from dcfm.methods import registry
from dcfm_planner.evaluation.ogbench import TASKS


@dataclass(frozen=True)
class _Scene:
    """What a card says of a domain: what a plan is, what data there is, an example, further limits, and, if it is not
    the default one, where its class is."""

    what: str
    data: str
    example: str
    limits: tuple[str, ...]
    domain: tuple[str, str] | None = None


SCENES = {
    "cube-single": _Scene(
        "one pick-and-place of OGBench's `cube-single-v0`: effector, gripper, cube and actions, 20 steps a second, for "
        "a pair of quadrants (start, target)",
        "pick-and-places of OGBench's own oracle (`scripts/collect.py`), none of them diagonal",
        'plan = planner.plan("TL", "BR")  # a move that no silo holds; metres, seconds',
        (
            "One cube, one scene, the simulator's own physics; nothing was run on a robot.",
            "With start and goal held, labels add nothing: null labels succeed as often (docs/planner_table.md).",
            "Sampled by Eq. 5 with guidance 1.5 unless said otherwise, which makes plans less varied (README).",
        ),
    ),
    "pointmaze-large": _Scene(
        "walks of a point through OGBench's `pointmaze-large-v0`, 32 positions, for a pair of rooms (start, goal)",
        "walks of OGBench's own oracle, collected by the first training",
        "labels = torch.tensor([[0, 0]])  # from A to E: nobody's walk\n"
        "plan = planner.trajectories(labels, torch.Generator().manual_seed(0))",
        (
            "An example of a domain of one's own (docs/own-domain.md); all ways lead through one door, which is what "
            "makes composing them possible.",
            "The training settings were changed once after novel pairs had failed.",
        ),
        ("dcfm_planner.domains.maze", "PointMaze"),
    ),
}
"""By the name of the domain, the first folder under ``dcfm_planner/weights``."""

TOLD = (
    "rule",
    "guidance",
    "steps",
    "solver",
    "seed",
    "controller",
    "lookahead",
    "replan_every",
    "warm_start",
    "stray_distance",
    "max_steps",
    "terminate_at_goal",
)
"""Keys of evaluations that what was measured is called by, where they are not left at their defaults."""


def planner_card(folder: Path, name: str, results: Path | None = None) -> Card:
    """The card of the planner in ``folder``.

    Args:
        folder: of the artefact.
        name: that it is shipped by, e.g. ``cube-single/noniid/dcfm_b``; the folder may lie elsewhere until it is whole.
        results: searched for ``metrics.json`` of scripts/plan_eval.py and scripts/ogbench_eval.py; those count whose
            weights have the artefact's hash.
    """
    found = artefacts.load(folder)
    config, weights = found.config, found.metadata["files"][artefacts.MODEL]
    scene, partition, _ = name.split("/")
    said = SCENES.get(scene) or _Scene(scene, "plans", "", (), _recorded_domain(config["training"]))
    title, silos = registry.make(config["method"]).title, len(config["silos"])
    samples = sum(sum(silo["counts"]) for silo in config["silos"])
    combinations = {tuple(pair) for silo in config["silos"] for pair in silo["combinations"]}
    load, imports = f'"{name}"', "from dcfm_planner import load_planner"
    if said.domain is not None:
        module, kind = said.domain
        load, imports = f"{load}, domain={kind}()", f"{imports}\nfrom {module} import {kind}"
    if "torch." in said.example:
        imports = f"import torch\n\n{imports}"
    limits = [
        "One training seed. Intervals are over trials, not over trainings.",
        *said.limits,
        "Weights and label counts can reveal something about the data that they come from.",
    ]
    return Card(
        title=f"{title}, {scene}, {partition}",
        summary=f"Plans {said.what}. Trained by {silos} silos ({partition}) that exchanged network weights and label "
        "counts, never a sample.",
        use=f"{imports}\n\nplanner = load_planner({load}).planner\n{said.example}",
        data=f"{samples:,} {said.data}; {len(combinations)} combinations of labels occur, in one silo or more.",
        limits=limits,
        task="robotics",
        dataset=scene,
        measured=[] if results is None else list(_measured(results, weights)),
        tags=("robotics", "flow-matching", "federated-learning", "trajectory-planning"),
    )


def _recorded_domain(training: Mapping[str, Any]) -> tuple[str, str]:
    """Where the domain's class is, of a domain that is not the package's: its trainings record it."""
    module, _, kind = training["domain"]["_target_"].rpartition(".")
    return module, kind


def _measured(results: Path, weights: str) -> Iterator[Measured]:
    for path in sorted(results.rglob("metrics.json")):
        values = json.loads(path.read_text(encoding="utf-8"))
        if values.get("weights_sha256") != weights:
            continue
        words = [word for word in shlex.split(values["command"]) if word.partition("=")[0] in TOLD]
        for what, found in _rates(values):
            if found["n"]:
                yield _rate(", ".join([what, *words]), found, values["command"])


def _rates(values: Mapping[str, Any]) -> Iterator[tuple[str, Mapping[str, Any]]]:
    """What an evaluation measured, and the rate of each; how many trials there were the card says too."""
    if "tasks" not in values:
        for kind in ("known", "novel"):
            yield f"success, {kind} pairs, protocol {values['protocol']}", values[kind]["success"]
    elif set(values["tasks"]) == {str(task) for task in TASKS}:
        yield "OGBench's success, all five tasks", values["average"]
        yield "OGBench's success, the two diagonal ones", values["novel"]
    else:
        yield f"OGBench's success, of its five tasks only {', '.join(values['tasks'])}", values["average"]


def _rate(what: str, found: Mapping[str, Any], command: str) -> Measured:
    return Measured(what, 100 * found["rate"], 100 * found["low"], 100 * found["high"], found["n"], command)
