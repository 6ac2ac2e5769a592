"""Write play data of the cube for other tools, or another tool's for this one.

    python scripts/export_data.py format=minari                         # data/minari/cube-single-play-v0
    python scripts/export_data.py format=lerobot data=my-play-data.npz  # data/lerobot/my-play-data
    python scripts/export_data.py format=npz data=minari:some-data-v0   # back to OGBench's format

A trip to Minari and back is exact. The keys are described in configs/export_data.yaml, the formats in docs/data.md.
"""

from dataclasses import dataclass
from pathlib import Path

from omegaconf import DictConfig

from dcfm.configuration import script, typed, writable
from dcfm_envs.collection import save_npz
from dcfm_envs.lerobot_data import export_lerobot
from dcfm_envs.minari_data import export_minari
from dcfm_envs.play_data import PlayData
from dcfm_envs.sources import MINARI, open_play


@dataclass
class Settings:
    """The keys of configs/export_data.yaml and their types."""

    format: str
    data: str
    name: str | None
    out: str


def export_npz(play: PlayData, path: Path) -> Path:
    """Write play data in OGBench's format.

    Raises:
        ValueError: the file exists.
    """
    if path.exists():
        raise ValueError(f"{path} exists; delete it, or choose another name= or out=")
    path.parent.mkdir(parents=True, exist_ok=True)
    save_npz(path, {"observations": play.observations, "actions": play.actions, "terminals": play.terminals})
    return path


@script("export_data", "nothing was written")
def main(config: DictConfig) -> None:
    """Check, read, write."""
    given = typed(config, Settings, "export_data")
    if given.format not in ("minari", "lerobot", "npz"):
        raise ValueError(f"format={given.format!r}; the formats are minari, lerobot, npz")
    name = given.name or Path(given.data.removeprefix(MINARI)).name.removesuffix(".npz")
    out = writable(given.out)
    play = open_play(given.data)
    if given.format == "minari":
        written = export_minari(play, name, out)
    elif given.format == "lerobot":
        written = export_lerobot(play, out / name)
    else:
        written = export_npz(play, out / f"{name}.npz")
    print(f"wrote {written}: {len(play.episodes())} episodes, {len(play)} steps")


if __name__ == "__main__":
    main()
