"""Good files are read as they are; each kind of bad file is one error that names the file and the remedy."""

from pathlib import Path

import numpy as np
import pytest

from dcfm_envs.play_data import PlayData, PlayDataError, load_play
from dcfm_envs.scene import STATE_SLICES

ROWS = 12


def arrays() -> dict[str, np.ndarray]:
    rng = np.random.default_rng(0)
    observations = rng.normal(size=(ROWS, 28)).astype(np.float32)
    for name in ("effector_yaw", "cube_yaw"):
        yaw = rng.uniform(-np.pi, np.pi, ROWS)
        observations[:, STATE_SLICES[name]] = np.stack([np.cos(yaw), np.sin(yaw)], axis=1)
    return {
        "observations": observations,
        "actions": rng.uniform(-1, 1, (ROWS, 5)).astype(np.float32),
        "terminals": np.arange(ROWS) % 6 == 5,
    }


def write(folder: Path, **changes: np.ndarray | None) -> Path:
    path = folder / "play.npz"
    kept = {key: value for key, value in (arrays() | changes).items() if value is not None}
    np.savez_compressed(path, **kept)  # type: ignore[arg-type]
    return path


def test_reads_what_is_there(tmp_path: Path) -> None:
    play = load_play(write(tmp_path))
    np.testing.assert_array_equal(play.observations, arrays()["observations"])
    np.testing.assert_array_equal(play.actions, arrays()["actions"])
    np.testing.assert_array_equal(play.terminals, arrays()["terminals"])
    assert len(play) == ROWS


def test_reads_the_public_file_s_types(tmp_path: Path) -> None:
    """OGBench's own files may hold float64, terminals as numbers, and more keys."""
    a = arrays()
    path = write(
        tmp_path,
        observations=a["observations"].astype(np.float64),
        terminals=a["terminals"].astype(np.float32),
        qpos=np.zeros((ROWS, 21)),
        qvel=np.zeros((ROWS, 20)),
    )
    play = load_play(str(path))
    np.testing.assert_array_equal(play.observations, a["observations"])
    np.testing.assert_array_equal(play.terminals, a["terminals"])


def test_episodes() -> None:
    a = arrays()
    np.testing.assert_array_equal(PlayData(**a).episodes(), [[0, 6], [6, 12]])
    unfinished = a["terminals"].copy()
    unfinished[-1] = False
    np.testing.assert_array_equal(PlayData(**(a | {"terminals": unfinished})).episodes(), [[0, 6], [6, 12]])
    nothing = {key: value[:0] for key, value in a.items()}
    assert PlayData(**nothing).episodes().shape == (0, 2)


def with_value(key: str, value: float) -> np.ndarray:
    array = arrays()[key].astype(np.float32)
    array[3] = value
    return array


@pytest.mark.parametrize(
    ("changes", "text"),
    [
        ({"actions": None}, "no actions"),
        ({"observations": None, "terminals": None}, "no observations, terminals"),
        ({"observations": np.zeros((ROWS, 27), np.float32)}, r"\(12, 27\).*\(12, 28\)"),
        ({"actions": np.zeros((ROWS - 1, 5), np.float32)}, r"\(11, 5\).*\(12, 5\)"),
        ({"terminals": np.zeros((ROWS, 1), bool)}, r"\(12, 1\)"),
        ({"observations": np.float32(1.0)}, "shape"),
        ({key: value[:0] for key, value in arrays().items()}, "no steps"),
        ({"observations": with_value("observations", np.nan)}, "NaN.*row 3"),
        ({"actions": with_value("actions", np.inf)}, "NaN or infinite.*row 3"),
        ({"actions": with_value("actions", 2.0)}, r"\[-1, 1\]"),
        ({"actions": with_value("actions", -1.01)}, r"an action is 1.01, .*\[-1, 1\]"),
        ({"actions": np.full((ROWS, 5), None, dtype=object)}, "objects"),
        ({"actions": np.full((ROWS, 5), "0.5")}, "not numbers"),
        ({"observations": with_value("observations", 0.0)}, "cosine and sine"),
    ],
)
def test_bad_contents(tmp_path: Path, changes: dict[str, np.ndarray | None], text: str) -> None:
    path = write(tmp_path, **changes)
    with pytest.raises(PlayDataError, match=text) as caught:
        load_play(path)
    assert str(path) in str(caught.value)
    assert "collect.py" in str(caught.value)


@pytest.mark.parametrize("share", [0.0, 0.3, 0.9, 0.999])
def test_truncated(tmp_path: Path, share: float) -> None:
    path = write(tmp_path)
    whole = path.read_bytes()
    path.write_bytes(whole[: int(share * len(whole))])
    with pytest.raises(PlayDataError, match="truncated or not an npz"):
        load_play(path)


def test_damaged_in_the_middle(tmp_path: Path) -> None:
    path = write(tmp_path)
    content = bytearray(path.read_bytes())
    middle = len(content) // 3
    content[middle : middle + 40] = bytes(40)
    path.write_bytes(content)
    with pytest.raises(PlayDataError):
        load_play(path)


def test_no_file_and_no_archive(tmp_path: Path) -> None:
    with pytest.raises(PlayDataError, match="no such file"):
        load_play(tmp_path / "absent.npz")
    with pytest.raises(PlayDataError, match="no such file"):
        load_play(tmp_path)
    np.save(tmp_path / "single.npy", np.zeros(3))
    with pytest.raises(PlayDataError, match="not an npz"):
        load_play(tmp_path / "single.npy")


def test_part_refuses_an_unknown_quantity() -> None:
    play = PlayData(**arrays())
    assert play.part("cube_position").shape == (ROWS, 3)
    with pytest.raises(ValueError, match="cube_position"):
        play.part("cube")
