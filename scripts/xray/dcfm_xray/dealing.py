"""How one machine deals X-rays to silos: from plain settings to a source, an autoencoder, a split, and a problem."""

from collections.abc import Mapping
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

from omegaconf import OmegaConf

from dcfm.configuration import typed
from dcfm.progress import StageProgress
from dcfm.silos import PARTITIONS
from dcfm_xray.encoders import Codec, load_codec
from dcfm_xray.problem import Problem, make_problem, open_source
from dcfm_xray.silos import Split, split
from dcfm_xray.sources import Source
from dcfm_xray.task import XrayTask


@dataclass
class Dealing:
    """The keys that say how X-rays are dealt, and their types; see :func:`dcfm_xray.silos.split`."""

    partition: str
    alpha: float
    silos: int
    seed: int
    source: str
    path: str | None
    images: int
    autoencoder: str | None
    pretrained: str | None
    withhold: bool
    test_share: float
    shard: int
    workers: int

    @classmethod
    def of(cls, settings: Mapping[str, Any], where: str) -> "Dealing":
        """From a configuration, or from what a model says of its training: plain values, of which no code is made.

        Args:
            settings: with these keys among others.
            where: file under ``configs`` that describes them, without its ending.

        Raises:
            ValueError: a key is missing, of the wrong type, refers to something else, or is out of range.
        """
        given = {part.name: settings[part.name] for part in fields(cls) if part.name in settings}
        if any(isinstance(value, str) and "${" in value for value in given.values()):
            raise ValueError(f"settings of the data refer to something else: {given}; give plain ones")
        dealing = typed(OmegaConf.create(given), cls, where)
        if dealing.partition not in PARTITIONS:
            raise ValueError(f"unknown partition {dealing.partition!r}; the partitions are {', '.join(PARTITIONS)}")
        if dealing.workers < 0 or dealing.seed < 0 or dealing.shard < 1:
            raise ValueError(
                f"workers={dealing.workers} and seed={dealing.seed} must be at least 0, shard={dealing.shard} at least "
                "1"
            )
        return dealing

    def codec(self, task: XrayTask) -> Codec:
        """The autoencoder that all silos share.

        Raises:
            ValueError: none there, or its latents are not the task's.
        """
        codec = load_codec(_path(self.autoencoder), _path(self.pretrained), task.size)
        if codec.shape != task.shape:
            raise ValueError(
                f"the autoencoder's latents have shape {codec.shape}, the task's {task.shape}; set task.latent"
            )
        return codec

    def parts(self, task: XrayTask) -> tuple[Source, Codec, Split]:
        """The images, the autoencoder, and who would have which rows; nothing is encoded yet."""
        codec = self.codec(task)
        source = open_source(self.source, _path(self.path), self.images, self.seed)
        dealt = split(
            source.labels,
            source.patients,
            kind=self.partition,
            silos=self.silos,
            alpha=self.alpha,
            withhold=self.withhold,
            test_share=self.test_share,
            seed=self.seed,
            given_test=source.given_test,
        )
        return source, codec, dealt

    def problem(
        self, parts: tuple[Source, Codec, Split], cache: Path, on_progress: StageProgress | None = None
    ) -> Problem:
        """Encode what is not encoded; see :func:`dcfm_xray.problem.make_problem`."""
        source, codec, dealt = parts
        return make_problem(
            source, codec, cache, dealt, shard=self.shard, workers=self.workers, on_progress=on_progress
        )


def _path(given: str | None) -> Path | None:
    return None if given is None else Path(given)
