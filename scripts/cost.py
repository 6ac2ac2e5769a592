"""Count what every method sends (Table 3) and evaluates (Table 4), each number beside its formula.

    python scripts/cost.py
    python scripts/cost.py 'silos=[2,8]' 'curve_silos=[2,10,100]' out=runs/cost-small

All methods of the registry train for two steps on the toy and the ledgers of their exchanges are read; the steps of all
trainers are counted; then messages are simulated for up to 1,000 silos, and steps counted for up to 14 attributes.
Prints the tables and writes them to ``out/cost.md``, every count with its formula to ``out/cost.json``, and the two
curves to ``out/cost.png``. The settings are described in configs/cost.yaml.
"""

import json
import tempfile
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, TypeVar

import hydra
import torch
from hydra.errors import InstantiationException
from omegaconf import DictConfig
from tqdm import tqdm

from dcfm.artefacts import write_text_atomically
from dcfm.configuration import script, typed, writable
from dcfm.methods import registry
from dcfm.metrics.cost import report
from dcfm.metrics.cost.sent import CURVES, CurveRow, SentRow, measure_sent, message_bytes, simulate, toy_silos
from dcfm.metrics.cost.steps import StepRow, measure_step
from dcfm.metrics.cost.trainers import TRAINERS
from dcfm.records import made_by
from dcfm.task import Task
from dcfm.toy.mixture import MOST_ATTRIBUTES
from dcfm.weights import model_size

CURVE_TRAINERS = ("local CI, own labels", "local CI, pairwise", "DCFM-A", "DCFM-B, a point used once")
"""Whose steps the second curve shows."""

Row = TypeVar("Row")


@dataclass
class Settings:
    """The keys of configs/cost.yaml and their types."""

    silos: list[int]
    attributes: list[int]
    averaging_rounds: int
    peer_rounds: int
    curve_silos: list[int]
    curve_rounds: int
    curve_attributes: list[int]
    seed: int
    task: dict[str, Any]
    out: str


@dataclass(frozen=True)
class Costs:
    """All that was measured."""

    sent: list[SentRow]
    steps: list[StepRow]
    sent_curve: list[CurveRow]
    steps_curve: list[StepRow]


def read_settings(config: DictConfig) -> Settings:
    """Check the types and ranges of what was given.

    Raises:
        ValueError: a value has the wrong type or is out of range.
    """
    settings = typed(config, Settings, "cost")
    for name, low, high in (
        ("silos", 2, 16),
        ("curve_silos", 2, 2000),
        ("attributes", 2, MOST_ATTRIBUTES),
        ("curve_attributes", 2, MOST_ATTRIBUTES),
    ):
        values = getattr(settings, name)
        if not values or not all(low <= value <= high for value in values):
            raise ValueError(f"{name}={values}; give a list of numbers from {low} to {high}")
    if min(settings.averaging_rounds, settings.peer_rounds, settings.curve_rounds) < 1 or settings.seed < 0:
        raise ValueError("averaging_rounds, peer_rounds and curve_rounds must be at least 1 and the seed at least 0")
    return settings


def network_size(settings: Settings) -> dict[str, Any]:
    """Parameters of the configured task's network, and the bytes of one message with its weights."""
    try:
        task = hydra.utils.instantiate(settings.task)
    except InstantiationException as error:
        raise ValueError(f"task={settings.task} cannot be made: {error}") from error
    if not isinstance(task, Task):
        raise ValueError(f"task={settings.task} is no dcfm.task.Task")
    weights = task.network().state_dict()
    name = str(settings.task.get("_target_"))
    return {"task": name, "parameters": model_size(weights), "message_bytes": message_bytes(weights)}


def measure(settings: Settings) -> Costs:
    """Run everything, with a bar that tells what is being measured."""
    jobs: list[tuple[str, Callable[[], Any]]] = []
    sent, steps, sent_curve, steps_curve = [], [], [], []

    def add(name: str, rows: list[Row], work: Callable[[], Row]) -> None:
        jobs.append((name, lambda: rows.append(work())))

    with tempfile.TemporaryDirectory() as folder:
        k, rounds = settings.attributes[0], (settings.averaging_rounds, settings.peer_rounds)
        for n in settings.silos:
            silos, out = toy_silos(k, n, settings.seed), Path(folder) / str(n)
            for name in registry.names():
                add(f"{name}, {n} silos", sent, lambda m=name, s=silos, o=out: measure_sent(m, s, o, *rounds))
        for k in settings.attributes:
            for name in TRAINERS:
                add(f"{name}, {k} attributes", steps, lambda m=name, k=k: measure_step(m, k, settings.seed))
        for k in settings.curve_attributes:
            for name in CURVE_TRAINERS:
                add(f"{name}, {k} attributes", steps_curve, lambda m=name, k=k: measure_step(m, k, settings.seed))
        rounds_of_curve = (settings.curve_rounds, settings.peer_rounds)
        for n in settings.curve_silos:
            for name in CURVES:
                add(f"{name}, {n} silos", sent_curve, lambda m=name, n=n: simulate(m, n, *rounds_of_curve))
        with tqdm(jobs, unit="count") as bar:
            for name, job in bar:
                bar.set_description(name)
                job()
    return Costs(sent, steps, sent_curve, steps_curve)


def text(costs: Costs, settings: Settings, network: dict[str, Any]) -> str:
    """The tables as Markdown."""
    t, r, many = settings.averaging_rounds, settings.peer_rounds, settings.curve_rounds
    parts = [
        f"Table 3: sent + received by a silo; T = {t}, R = {r}, models of {costs.sent[0].message_bytes} bytes",
        report.sent_table(costs.sent),
        "Table 4: forward / backward evaluations of a step, in units of the batch",
        report.steps_table(costs.steps),
        "DCFM-A: c, the composition's terms that a silo serves itself, by chance of the routing",
        report.own_terms_table(costs.steps),
        "Where what is run differs from the paper's formula",
        report.differences(costs.sent, costs.steps),
        f"Messages simulated among N silos: T = {many}, R = {r}; sent and received, models",
        report.curve_table(costs.sent_curve),
        f"The same in GB (10^9 bytes) with the network of {network['task']}: {network['parameters']:,} parameters, "
        f"{network['message_bytes']:,} bytes a message; label histograms not counted",
        report.curve_table(costs.sent_curve, "GB", network["message_bytes"] / 1e9),
    ]
    return "\n\n".join(parts) + "\n"


def run(config: DictConfig) -> None:
    """Check, measure, write, print."""
    settings = read_settings(config)
    torch.set_num_threads(1)
    out = writable(settings.out)
    network = network_size(settings)
    start, cpu_start = time.perf_counter(), time.process_time()
    costs = measure(settings)
    checked = [row.equal for rows in vars(costs).values() for row in rows if row.equal is not None]
    values = {
        **made_by(),
        "seconds": {
            "wall": round(time.perf_counter() - start, 1),
            "cpu": round(time.process_time() - cpu_start, 1),
        },
        "settings": asdict(settings),
        "network": network,
        "counts_checked": len(checked),
        "counts_equal_to_the_formula_as_run": sum(checked),
        **asdict(costs),
    }
    tables = text(costs, settings, network)
    caption = f"communication, T = {settings.curve_rounds}, R = {settings.peer_rounds}"
    (out / "cost.json").unlink(missing_ok=True)  # of counts that lay here
    write_text_atomically(out / "cost.md", tables)
    report.draw_curves(costs.sent_curve, costs.steps_curve, caption, out / "cost.png")
    write_text_atomically(out / "cost.json", json.dumps(values, indent=1, allow_nan=False) + "\n")  # last: all is there
    print(
        f"\n{tables}\n{sum(checked)} of {len(checked)} counts equal the formula as run; "
        f"wrote {out}/cost.json, cost.md, cost.png"
    )


@script("cost", "nothing was written")
def main(config: DictConfig) -> None:
    """Count; one line for each thing that can be wrong."""
    run(config)


if __name__ == "__main__":
    main()
