"""OGBench's protocol: its environment and tasks untouched, episodes that their seed alone decides, counts."""

from typing import Any

import gymnasium
import numpy as np
import pytest

from dcfm_envs.scene import STATE_SLICES
from dcfm_planner.evaluation import ogbench
from dcfm_planner.evaluation.ogbench import Episode, ProtocolError
from dcfm_planner.query import cube_positions


class Still:
    """Does nothing, and remembers what it was shown."""

    def __init__(self) -> None:
        self.seen: list[tuple[np.ndarray, np.ndarray, Any]] = []

    def sample_actions(
        self, observations: np.ndarray, goals: Any = None, seed: Any = None, temperature: float | int = 1.0
    ) -> np.ndarray:
        self.seen.append((observations, goals, seed))
        return np.zeros(5)


@pytest.fixture(scope="module")
def env() -> gymnasium.Env:
    return ogbench.make_environment()


def test_the_environment_is_ogbench_s(env: gymnasium.Env) -> None:
    assert env.spec is not None
    assert (env.spec.id, env.spec.max_episode_steps) == ("cube-single-v0", 200)
    assert gymnasium.spec("cube-single-v0").entry_point == "ogbench.manipspace.envs.cube_env:CubeEnv"  # as it was
    assert env.unwrapped._terminate_at_goal  # type: ignore[attr-defined]
    assert env.action_space.shape == (5,)


def test_an_episode_depends_on_its_seed_alone(env: gymnasium.Env, monkeypatch: pytest.MonkeyPatch) -> None:
    short = gymnasium.wrappers.TimeLimit(env.unwrapped, 3)
    first, other, again = Still(), Still(), Still()
    before = np.random.get_state()[1].copy()  # type: ignore[union-attr]
    played = ogbench.play(short, first, 4, 0, seed=5)
    ogbench.play(short, other, 4, 1, seed=5)
    repeated = ogbench.play(short, again, 4, 0, seed=5)
    np.testing.assert_array_equal(before, np.random.get_state()[1])  # type: ignore[arg-type]
    assert played == repeated
    for one, two in zip(first.seen, again.seen, strict=True):
        np.testing.assert_array_equal(one[0], two[0])
        np.testing.assert_array_equal(one[1], two[1])
        assert one[2] == two[2]
    assert not np.array_equal(first.seen[0][0], other.seen[0][0])
    assert (first.seen[0][0][STATE_SLICES["joint_velocity"]] == 0).all()  # what the adapters rely on
    assert not (first.seen[1][0][STATE_SLICES["joint_velocity"]] == 0).any()
    assert (played.steps, played.success, played.kind) == (3, False, "diagonal")
    assert played.distance == pytest.approx(np.hypot(0.15, 0.4), abs=0.02)


def test_every_episode_has_a_seed_of_its_own(env: gymnasium.Env) -> None:
    short = gymnasium.wrappers.TimeLimit(env.unwrapped, 1)
    asked = [(4, 0, 5), (4, 0, 6), (4, 1, 5), (5, 0, 5)]  # task, number, the evaluation's seed
    agents = [Still() for _ in asked]
    seeds = {ogbench.play(short, agent, *which).seed for agent, which in zip(agents, asked, strict=True)}
    assert len(seeds) == len({agent.seen[0][2] for agent in agents}) == len(asked)


class Pushing(Still):
    """Asks for one action all the time."""

    def __init__(self, action: float) -> None:
        super().__init__()
        self.action = action

    def sample_actions(self, observations: np.ndarray, *rest: Any, **named: Any) -> np.ndarray:
        return self.action + super().sample_actions(observations, *rest, **named)


def test_actions_are_clipped(env: gymnasium.Env) -> None:
    short = gymnasium.wrappers.TimeLimit(env.unwrapped, 3)
    allowed, more = Pushing(1.0), Pushing(3.0)
    for agent in (allowed, more):
        ogbench.play(short, agent, 4, 0, seed=0)
    np.testing.assert_array_equal(allowed.seen[-1][0], more.seen[-1][0])


class Carrying(Still):
    """Puts the cube at the goal in its third step."""

    def __init__(self, env: gymnasium.Env) -> None:
        super().__init__()
        self.cube = env.unwrapped.data.joint("object_joint_0")  # type: ignore[attr-defined]

    def sample_actions(self, *rest: Any, goals: np.ndarray, **named: Any) -> np.ndarray:
        action = super().sample_actions(*rest, goals=goals, **named)
        if len(self.seen) == 3:
            self.cube.qpos[:3] = cube_positions(goals[None])[0]
        return action


def test_an_episode_ends_with_the_step_that_brings_the_cube_to_the_goal(env: gymnasium.Env) -> None:
    env.reset(seed=0)
    played = ogbench.play(env, Carrying(env), 4, 0, seed=0)
    assert (played.success, played.steps) == (True, 3)
    assert played.distance < 0.01


def test_an_episode_may_last_and_its_last_step_decides() -> None:
    lasting = ogbench.make_environment(terminate_at_goal=False)
    lasting.reset(seed=0)
    played = ogbench.play(gymnasium.wrappers.TimeLimit(lasting.unwrapped, 5), Carrying(lasting), 4, 0, seed=0)
    assert (played.success, played.steps) == (True, 5)


def test_episodes_are_of_the_evaluation_s_seed() -> None:
    (played,) = ogbench.evaluate(Still(), [4], 1, seed=7)
    assert (played.steps, played.success) == (200, False)
    assert played.seed == np.random.SeedSequence([7, 4, 0]).generate_state(2)[0]


@pytest.mark.parametrize(
    ("task", "source", "target", "kind"),
    [(1, "", "", "border"), (2, "", "", "border"), (4, "BR", "TL", "diagonal"), (5, "BL", "TR", "diagonal")],
)
def test_tasks_and_their_quadrants(env: gymnasium.Env, task: int, source: str, target: str, kind: str) -> None:
    played = ogbench.play(gymnasium.wrappers.TimeLimit(env.unwrapped, 1), Still(), task, 0, seed=0)
    assert (played.source, played.target, played.kind) == (source, target, kind)
    assert played.name.startswith(f"task{task}_")


def episode(task: int, number: int, success: bool) -> Episode:
    steps = 60 + number if success else 200
    return Episode(task, f"task{task}_x", number, 0, "", "", "border", success, steps, 0.03)


def test_counts() -> None:
    played = [episode(task, i, success=not (task == 5 and i == 0)) for task in (1, 4, 5) for i in range(4)]
    summary = ogbench.summarise(played)
    assert [(entry["k"], entry["n"]) for entry in summary["tasks"].values()] == [(4, 4), (4, 4), (3, 4)]
    assert (summary["novel"]["k"], summary["novel"]["n"]) == (7, 8)
    assert (summary["border"]["k"], summary["border"]["n"]) == (4, 4)
    assert summary["average"]["rate"] == pytest.approx(np.mean([1, 1, 0.75]))
    assert summary["average"]["low"] < summary["average"]["rate"] < summary["average"]["high"]
    assert summary["tasks"]["5"]["median_steps_of_successes"] == 62  # of 61, 62 and 63
    text = ogbench.table(summary)
    assert "task5_x *" in text
    assert "7/8" in text
    lines = ogbench.episodes_csv(played).splitlines()
    assert len(lines) == 13
    assert lines[0].startswith("task,name,episode,seed")
    only = ogbench.summarise([episode(1, 0, success=False)])
    assert only["novel"]["rate"] is None
    assert "no episodes" in ogbench.table(only)


@pytest.mark.parametrize(
    ("tasks", "episodes", "seed", "message"),
    [
        ([], 1, 0, r"give some of \[1, 2, 3, 4, 5\]"),
        ([6], 1, 0, r"tasks=\[6\]"),
        ([1, 1], 1, 0, "each once"),
        ([1], 0, 0, "at least 1 episode"),
        ([1], 1, -1, "a seed of 0 or more"),
    ],
)
def test_what_cannot_be(tasks: list[int], episodes: int, seed: int, message: str) -> None:
    with pytest.raises(ProtocolError, match=message):
        ogbench.evaluate(Still(), tasks, episodes, seed)
