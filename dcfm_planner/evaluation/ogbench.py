"""OGBench's own goal-conditioned evaluation: five tasks of ``cube-single-v0``, 50 episodes each, its rule of success.

The environment is the one that OGBench registers, with its arguments and its limit of 200 steps. As in OGBench's loop
(``impls/utils/evaluation.py``) a policy sees the observation and the goal observation, actions are clipped to [-1, 1],
and an episode is a success if its last ``info`` says so; it ends at the first step with the cube within 0.04 m of the
goal. Unlike there, every episode is seeded on its own, NumPy's global state is seeded for its resets and put back, and
so an episode is the same however many there are.

Tasks 1 to 3 start and end on a border between quadrants: no quadrant is asked for, and they say nothing about
composition. Tasks 4 and 5 are diagonal moves, BR to TL and BL to TR, which no silo holds: these are the novel ones.
"""

from collections.abc import Callable, Sequence
from copy import copy
from dataclasses import asdict, dataclass
from typing import Any, Final, Protocol, runtime_checkable

import gymnasium
import numpy as np
from jaxtyping import Float

from dcfm.metrics.intervals import share
from dcfm_envs.collection import seeded_global_numpy
from dcfm_envs.rendering import without_pictures
from dcfm_planner.evaluation.problems import pair_kind
from dcfm_planner.quadrants import QUADRANTS
from dcfm_planner.query import NULL, cube_positions, labels_at

ENVIRONMENT: Final = "cube-single-v0"
TASKS: Final = (1, 2, 3, 4, 5)
NOVEL_TASKS: Final = (4, 5)
EPISODES: Final = 50
"""Of a task: OGBench's default."""


class ProtocolError(ValueError):
    """An evaluation that cannot be run as asked for."""


@runtime_checkable
class GoalConditionedAgent(Protocol):
    """What OGBench's loop asks of an agent; :class:`dcfm_planner.adapters.OGBenchPolicy` is one."""

    def sample_actions(
        self, observations: np.ndarray, goals: Any = None, seed: Any = None, temperature: float | int = 1.0
    ) -> np.ndarray: ...


@dataclass(frozen=True)
class Episode:
    """One episode.

    Attributes:
        task: OGBench's number; ``name`` its name.
        episode: number in its task.
        source, target: quadrants in which the cube starts and should end, empty near a border.
        kind: ``same``, ``adjacent``, ``diagonal``, or ``border`` where either is empty.
        success: OGBench's.
        steps: control steps.
        distance: m between cube and goal in the end.
    """

    task: int
    name: str
    episode: int
    seed: int
    source: str
    target: str
    kind: str
    success: bool
    steps: int
    distance: float


def check_tasks(tasks: Sequence[int], episodes: int, seed: int) -> None:
    """Whether these can be evaluated.

    Raises:
        ProtocolError: they cannot.
    """
    if not tasks or set(tasks) - set(TASKS) or len(set(tasks)) < len(tasks):
        raise ProtocolError(f"tasks={list(tasks)}: give some of {list(TASKS)}, each once")
    if episodes < 1 or seed < 0:
        raise ProtocolError(f"episodes={episodes}, seed={seed}: give at least 1 episode a task and a seed of 0 or more")


def make_environment(terminate_at_goal: bool = True) -> gymnasium.Env:
    """OGBench's environment, seeded through and through; no picture is drawn.

    Args:
        terminate_at_goal: OGBench's default; without it, episodes last 200 steps and the last one decides.
    """
    with without_pictures():  # mujoco is imported when the environment is made
        import ogbench  # noqa: F401  (registers its environments)

        spec = copy(gymnasium.spec(ENVIRONMENT))  # the registered one stays as it is
        spec.entry_point = "dcfm_planner.evaluation.ogbench_cube:SeededCube"
        # The observation space that OGBench makes is float64 with infinite bounds; its checker warns of it.
        return gymnasium.make(spec, disable_env_checker=True, terminate_at_goal=terminate_at_goal)


def play(env: gymnasium.Env, agent: GoalConditionedAgent, task: int, episode: int, seed: int) -> Episode:
    """One episode, the way that OGBench's loop plays it.

    Args:
        env: of :func:`make_environment`.
        agent: which learns of a new episode by its goal and observation alone.
        task: 1 to 5.
        episode: number, part of the seed.
        seed: of the evaluation.
    """
    drawn = np.random.SeedSequence([seed, task, episode]).generate_state(2)
    with seeded_global_numpy(int(drawn[0])):
        observation, info = env.reset(seed=int(drawn[0]), options={"task_id": task, "render_goal": False})
        goal, done, steps = info["goal"], False, 0
        ends = [_cube(observation), _cube(goal)]
        while not done:
            action = agent.sample_actions(observations=observation, goals=goal, temperature=0, seed=int(drawn[1]))
            observation, _, terminated, truncated, info = env.step(np.clip(np.array(action), -1, 1))
            done, steps = terminated or truncated, steps + 1
    labels = [int(label) for label in labels_at(np.stack(ends))]
    names = ["" if label == NULL else QUADRANTS[label] for label in labels]
    return Episode(
        task=task,
        name=str(env.unwrapped.cur_task_info["task_name"]),  # pyright: ignore[reportAttributeAccessIssue]
        episode=episode,
        seed=int(drawn[0]),
        source=names[0],
        target=names[1],
        kind=pair_kind(labels[0], labels[1]) if all(names) else "border",
        success=bool(info["success"]),
        steps=steps,
        distance=float(np.linalg.norm(_cube(observation) - ends[1])),
    )


def _cube(observation: Float[np.ndarray, "28"]) -> Float[np.ndarray, "3"]:
    return cube_positions(np.asarray(observation, dtype=np.float64)[None])[0]


def evaluate(
    agent: GoalConditionedAgent,
    tasks: Sequence[int] = TASKS,
    episodes: int = EPISODES,
    seed: int = 0,
    terminate_at_goal: bool = True,
    on_episode: Callable[[Episode], None] | None = None,
) -> list[Episode]:
    """All episodes of the tasks, one after the other.

    Raises:
        ProtocolError: tasks, episodes or seed that cannot be, before any work.
    """
    check_tasks(tasks, episodes, seed)
    env = make_environment(terminate_at_goal)
    played = []
    try:
        for task in tasks:
            for episode in range(episodes):
                played.append(play(env, agent, task, episode, seed))
                if on_episode is not None:
                    on_episode(played[-1])
    finally:
        env.close()
    return played


def summarise(episodes: Sequence[Episode]) -> dict[str, Any]:
    """Success by task, over all of them, over the novel ones and over those on borders, with 95 % Wilson intervals.

    ``average`` is the mean of the tasks' rates, OGBench's headline; its interval is that of all episodes, of which
    every task has as many.
    """
    played = sorted({episode.task for episode in episodes})

    def of(tasks: Sequence[int]) -> dict[str, Any]:
        chosen = [episode for episode in episodes if episode.task in tasks]
        steps = [episode.steps for episode in chosen if episode.success]
        return share(sum(episode.success for episode in chosen), len(chosen)) | {
            "median_steps_of_successes": float(np.median(steps)) if steps else None
        }

    return {
        "tasks": {
            str(task): {"name": next(e.name for e in episodes if e.task == task), "novel": task in NOVEL_TASKS}
            | of([task])
            for task in played
        },
        "average": of(played),
        "novel": of(NOVEL_TASKS),
        "border": of([task for task in played if task not in NOVEL_TASKS]),
    }


def table(summary: dict[str, Any]) -> str:
    """What is printed."""

    def line(title: str, entry: dict[str, Any]) -> str:
        if not entry["n"]:
            return f"{title:<26} no episodes"
        return (
            f"{title:<26}{entry['k']:>4}/{entry['n']:<4} {entry['rate']:6.1%} [{entry['low']:.1%}, {entry['high']:.1%}]"
        )

    rows = [line(entry["name"] + (" *" if entry["novel"] else ""), entry) for entry in summary["tasks"].values()]
    rows += [
        "",
        line("average of the tasks", summary["average"]),
        line("novel (*)", summary["novel"]),
        line("on quadrant borders", summary["border"]),
    ]
    return "\n".join(rows)


def episodes_csv(episodes: Sequence[Episode]) -> str:
    """One line an episode."""
    names = list(Episode.__dataclass_fields__)
    lines = [",".join(names)]
    for episode in episodes:
        values = asdict(episode) | {"success": int(episode.success), "distance": f"{episode.distance:.5f}"}
        lines.append(",".join(str(values[name]) for name in names))
    return "\n".join(lines) + "\n"
