"""Evaluate a planner that silos trained without exchanging a trajectory, in MuJoCo.

    python scripts/plan_eval.py partition=noniid       # the shipped DCFM-B planner, about 2 minutes on 2 cores
    python scripts/plan_eval.py method=dcfm_a trials=300 controls=true
    python scripts/plan_eval.py weights=runs/noniid/published/dcfm_b protocol=given out=runs/eval/given

Prints a table and writes it to ``out`` with ``metrics.json``, ``trials.csv``, ``paths.png`` and the resolved
``config.yaml``. The settings are described in configs/plan_eval.yaml.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from omegaconf import DictConfig, OmegaConf
from tqdm import tqdm

from dcfm.artefacts import MODEL
from dcfm.configuration import check_same_settings, script, typed, writable
from dcfm.records import command_line
from dcfm_planner.evaluation.report import table, write_report
from dcfm_planner.evaluation.run import EvaluationSettings, evaluate, load
from dcfm_planner.execution import ExecutionOptions
from dcfm_planner.models import planner_label, sampling_of, shipped_name
from dcfm_planner.training import read_domain


@dataclass
class Settings:
    """The keys of configs/plan_eval.yaml and their types."""

    partition: str
    method: str
    weights: str | None
    protocol: str
    trials: int
    seed: int
    out: str | None
    device: str
    workers: int | None
    controls: Any
    controller: str
    lookahead: int
    replan_every: int
    warm_start: float
    stray_distance: float | None
    steps: int | None
    solver: str | None
    rule: str | None
    guidance: list[float] | None
    max_steps: int | None
    domain: Any


def read_settings(config: DictConfig) -> tuple[EvaluationSettings, Path]:
    """Check the types and ranges of what was given.

    Raises:
        ValueError: a value has the wrong type, is unknown, or is out of range.
    """
    given = typed(config, Settings, "plan_eval")
    domain = read_domain(given.domain)
    settings = EvaluationSettings(
        weights=shipped_name(given.partition, given.method, domain) if given.weights is None else given.weights,
        protocol=given.protocol,
        trials=given.trials,
        seed=given.seed,
        device=given.device,
        workers=given.workers,
        controls=_controls(given.controls, domain.evaluation().controls),
        controller=given.controller,
        lookahead=given.lookahead,
        options=ExecutionOptions(
            replan_every=given.replan_every, warm_start=given.warm_start, stray_distance=given.stray_distance
        ),
        sampling=sampling_of(steps=given.steps, solver=given.solver, rule=given.rule, guidance=given.guidance),
        max_steps=given.max_steps,
        domain=domain,
    )
    name = planner_label(given.weights, given.partition, given.method, domain)
    return settings, Path(given.out or f"runs/eval/{name}-{given.protocol}-seed{given.seed}")


def _controls(given: Any, allowed: tuple[str, ...]) -> tuple[str, ...]:
    if isinstance(given, bool):
        return allowed if given else ()
    if not isinstance(given, list):
        raise ValueError(f"controls={given!r}: give true, false, or a quoted list of {', '.join(allowed)}")
    return tuple("null" if name is None else str(name) for name in given)  # YAML reads a bare null as nothing


def run(config: DictConfig) -> None:
    """Check, evaluate, write, print."""
    settings, out = read_settings(config)
    loaded = load(settings)  # before a folder is made: bad weights and problems that there are not
    settings.make_problems()
    check_same_settings(writable(out), config, weights=loaded.metadata["files"][MODEL])
    command = command_line()
    with tqdm(total=2 * settings.trials, unit="trial", desc=f"evaluating {settings.weights}") as bar:

        def show(done: int, total: int) -> None:
            bar.update(done - bar.n)

        results = evaluate(settings, show)
    values = write_report(results, out, command, OmegaConf.to_yaml(config, resolve=True))
    shown = table(values, settings.domain)
    print(f"\n{shown}\n\nwrote {out}/metrics.json, trials.csv, table.txt, paths.png, config.yaml")


@script("plan_eval", "nothing was written")
def main(config: DictConfig) -> None:
    """Evaluate, with a bar that tells the time left; one line for each thing that can be wrong."""
    run(config)


if __name__ == "__main__":
    main()
