"""Evaluate a trained planner the way OGBench evaluates goal-conditioned agents: five tasks, 50 episodes each.

    python scripts/ogbench_eval.py                       # the shipped non-IID DCFM-B planner, some minutes
    python scripts/ogbench_eval.py method=dcfm_a 'tasks=[4,5]' episodes=10
    python scripts/ogbench_eval.py weights=runs/noniid/published/dcfm_b out=runs/ogbench/mine

Prints a table and writes it to ``out`` with ``metrics.json``, ``episodes.csv`` and the resolved ``config.yaml``. The
settings are described in configs/ogbench_eval.yaml.
"""

import json
import time
from dataclasses import asdict, dataclass

import torch
from omegaconf import DictConfig, OmegaConf
from tqdm import tqdm

from dcfm.artefacts import MODEL, write_text_atomically
from dcfm.configuration import check_same_settings, script, typed, writable
from dcfm.records import made_by
from dcfm_planner.adapters import OGBenchPolicy
from dcfm_planner.agent import PlannerAgent
from dcfm_planner.evaluation import ogbench
from dcfm_planner.evaluation.run import described
from dcfm_planner.models import load_planner, planner_label, sampling_of, shipped_name


@dataclass
class Settings:
    """The keys of configs/ogbench_eval.yaml and their types."""

    partition: str
    method: str
    weights: str | None
    tasks: list[int]
    episodes: int
    seed: int
    terminate_at_goal: bool
    rule: str | None
    guidance: list[float] | None
    out: str | None
    device: str


def run(config: DictConfig) -> None:
    """Check, evaluate, write, print."""
    given = typed(config, Settings, "ogbench_eval")
    ogbench.check_tasks(given.tasks, given.episodes, given.seed)
    weights = shipped_name(given.partition, given.method) if given.weights is None else given.weights
    sampling = sampling_of(rule=given.rule, guidance=given.guidance)
    loaded = load_planner(weights, device=given.device, sampling=sampling)
    name = planner_label(given.weights, given.partition, given.method)
    out = writable(given.out or f"runs/ogbench/{name}-seed{given.seed}")
    weights_hash = loaded.metadata["files"][MODEL]
    check_same_settings(out, config, weights=weights_hash)
    torch.set_num_threads(1)
    agent = PlannerAgent(loaded.planner)
    begin = time.perf_counter()
    with tqdm(total=len(given.tasks) * given.episodes, unit="episode", desc=f"evaluating {weights}") as bar:

        def show(episode: ogbench.Episode) -> None:
            bar.update()

        episodes = ogbench.evaluate(
            OGBenchPolicy(agent), given.tasks, given.episodes, given.seed, given.terminate_at_goal, show
        )
    summary = ogbench.summarise(episodes)
    values = {
        "what": f"{loaded.method}, {loaded.partition}, OGBench {ogbench.ENVIRONMENT}, seed {given.seed}",
        **made_by(),
        "method": loaded.method,
        "partition": loaded.partition,
        "weights": weights,
        "weights_sha256": weights_hash,
        "episodes_a_task": given.episodes,
        "seed": given.seed,
        "terminate_at_goal": given.terminate_at_goal,
        "interval": "95 % Wilson",
        **summary,
        "execution": asdict(agent.options),
        "planner": described(loaded),
        "seconds": time.perf_counter() - begin,
    }
    text = f"{values['what']} (k/n, rate, 95 % Wilson interval; * novel)\n\n{ogbench.table(summary)}"
    (out / "metrics.json").unlink(missing_ok=True)  # of an evaluation that lay here
    write_text_atomically(out / "config.yaml", OmegaConf.to_yaml(config, resolve=True))
    write_text_atomically(out / "episodes.csv", ogbench.episodes_csv(episodes))
    write_text_atomically(out / "table.txt", text + "\n")
    write_text_atomically(out / "metrics.json", json.dumps(values, indent=2, allow_nan=False) + "\n")
    print(f"\n{text}\n\nwrote {out}/metrics.json, episodes.csv, table.txt, config.yaml")


@script("ogbench_eval", "nothing was written")
def main(config: DictConfig) -> None:
    """Evaluate, with a bar that tells the time left; one line for each thing that can be wrong."""
    run(config)


if __name__ == "__main__":
    main()
