"""To Minari and back nothing changes; from elsewhere nothing is invented, downloaded or executed."""

import json
from pathlib import Path

import minari
import numpy as np
import pytest
from gymnasium.spaces import Box

from dcfm_envs.minari_data import export_minari, import_minari
from dcfm_envs.play_data import PlayData, PlayDataError
from dcfm_envs.scene import STATE_SLICES
from dcfm_envs.sources import open_play

ROWS, NAME = 12, "cube-single-play-v0"


def play(**changes: np.ndarray) -> PlayData:
    rng = np.random.default_rng(0)
    observations = rng.normal(size=(ROWS, 28)).astype(np.float32)
    for name in ("effector_yaw", "cube_yaw"):
        yaw = rng.uniform(-np.pi, np.pi, ROWS)
        observations[:, STATE_SLICES[name]] = np.stack([np.cos(yaw), np.sin(yaw)], axis=1)
    actions = rng.uniform(-1, 1, (ROWS, 5)).astype(np.float32)
    parts = {"observations": observations, "actions": actions, "terminals": np.arange(ROWS) % 6 == 5}
    return PlayData(**(parts | changes))


def assert_same(a: PlayData, b: PlayData) -> None:
    for name in ("observations", "actions", "terminals"):
        left, right = getattr(a, name), getattr(b, name)
        assert left.dtype == right.dtype
        assert left.tobytes() == right.tobytes()


@pytest.mark.parametrize("terminals", [np.arange(ROWS) % 6 == 5, np.arange(ROWS) == 4])
def test_there_and_back(tmp_path: Path, terminals: np.ndarray) -> None:
    """Two whole episodes; and one, with the end of the data in the middle of a second."""
    given = play(terminals=terminals)
    folder = export_minari(given, NAME, tmp_path)
    assert folder == tmp_path / NAME
    assert_same(given, import_minari(folder))
    assert_same(given, open_play(f"minari:{folder / 'data'}"))
    assert sorted(path.name for path in tmp_path.iterdir()) == [NAME]


def test_a_folder_may_be_relative(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As the script's default is."""
    monkeypatch.chdir(tmp_path)
    given = play()
    folder = export_minari(given, NAME, Path("data/minari"))
    assert folder == Path("data/minari") / NAME
    assert_same(given, import_minari(folder))
    assert [path.name for path in (tmp_path / "data/minari").iterdir()] == [NAME]


def test_minari_itself_reads_transitions(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    given = play()
    export_minari(given, f"mine/{NAME}", tmp_path)
    monkeypatch.setenv("MINARI_DATASETS_PATH", str(tmp_path))
    dataset = minari.load_dataset(f"mine/{NAME}")
    assert (dataset.total_episodes, dataset.total_steps) == (2, 10)
    for episode, first in zip(dataset.iterate_episodes(), (0, 6), strict=True):
        np.testing.assert_array_equal(episode.observations, given.observations[first : first + 6])
        np.testing.assert_array_equal(episode.actions, given.actions[first : first + 5])
        assert episode.truncations.tolist() == [False] * 4 + [True]
        assert not episode.terminations.any()
        assert not episode.rewards.any()
    assert_same(given, import_minari(f"mine/{NAME}"))


def foreign(
    folder: Path,
    observations: np.ndarray,
    actions: np.ndarray,
    monkeypatch: pytest.MonkeyPatch,
    infos: dict[str, np.ndarray] | None = None,
    terminated: bool = False,
) -> None:
    """A data set of one episode, twice, without our infos, or with others, terminated in their last steps or not."""
    monkeypatch.setenv("MINARI_DATASETS_PATH", str(folder))
    steps = len(actions)
    flags = {"rewards": np.zeros(steps), "terminations": np.zeros(steps, bool), "truncations": np.zeros(steps, bool)}
    flags["terminations"][-1] = terminated
    episodes = [
        minari.data_collector.EpisodeBuffer(observations=observations, actions=actions, infos=infos, **flags)
        for _ in range(2)
    ]
    minari.create_dataset_from_buffers(
        "other-v0",
        episodes,
        observation_space=Box(-np.inf, np.inf, observations.shape[1:], np.float32),
        action_space=Box(-1, 1, actions.shape[1:], np.float32),
        author="a",
        author_email="b",
        code_permalink="c",
        algorithm_name="d",
        description="e",
    )


@pytest.mark.filterwarnings("ignore:.*None:UserWarning")
@pytest.mark.parametrize("terminated", [False, True])
def test_a_data_set_from_elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, terminated: bool) -> None:
    given = play()
    foreign(tmp_path, given.observations[:6], given.actions[:5], monkeypatch, terminated=terminated)
    found = import_minari("other-v0")
    assert np.flatnonzero(found.terminals).tolist() == ([4, 9] if terminated else [4])  # of the last we are not told
    assert len(found) == 10
    np.testing.assert_array_equal(found.observations[:5], given.observations[:5])
    np.testing.assert_array_equal(found.episodes(), [[0, 5], [5, 10]])


@pytest.mark.filterwarnings("ignore:.*None:UserWarning")
def test_actions_that_somebody_else_logged_are_not_taken_for_ours(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As many as observations, but each the one that led there."""
    given = play()
    led = np.concatenate([np.zeros((1, 5), np.float32), given.actions[:5]])
    foreign(tmp_path, given.observations[:6], given.actions[:5], monkeypatch, {"action": led})
    np.testing.assert_array_equal(import_minari("other-v0").actions[:5], given.actions[:5])


@pytest.mark.filterwarnings("ignore:.*None:UserWarning")
def test_states_of_something_else(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    foreign(tmp_path, np.zeros((4, 3), np.float32), np.zeros((3, 2), np.float32), monkeypatch)
    with pytest.raises(PlayDataError, match=r"minari:other-v0: 'observations' has shape \(6, 3\)"):
        import_minari("other-v0")


def test_what_cannot_be_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MINARI_DATASETS_PATH", str(tmp_path))
    with pytest.raises(PlayDataError, match="neither a folder with a Minari data set nor the id of a local one"):
        import_minari("nothing-v0")
    data = export_minari(play(), NAME, tmp_path) / "data"
    whole = (data / "metadata.json").read_text()
    told = json.loads(whole)
    del told["action_space"]
    told["env_spec"] = json.dumps({"id": "evil-v0", "entry_point": "os:abort"})
    (data / "metadata.json").write_text(json.dumps(told))
    with pytest.raises(PlayDataError, match="no action_space"):  # the environment is not made
        import_minari(NAME)
    (data / "metadata.json").write_text(whole[:50])
    with pytest.raises(PlayDataError, match="copy or export it again"):
        import_minari(NAME)
    (data / "metadata.json").write_text(whole)
    (data / "main_data.hdf5").write_bytes((data / "main_data.hdf5").read_bytes()[:3000])
    with pytest.raises(PlayDataError, match="copy or export it again"):
        import_minari(NAME)


def test_what_cannot_be_written(tmp_path: Path) -> None:
    with pytest.raises(PlayDataError, match="no id of a Minari data set"):
        export_minari(play(), "../evil", tmp_path)
    with pytest.raises(PlayDataError, match=r"episode 1 \(row 11\) has a single row"):
        export_minari(play(terminals=np.arange(ROWS) >= 10), NAME, tmp_path)
    assert not list(tmp_path.iterdir())
    export_minari(play(), NAME, tmp_path)
    with pytest.raises(PlayDataError, match="exists"):
        export_minari(play(), NAME, tmp_path)
