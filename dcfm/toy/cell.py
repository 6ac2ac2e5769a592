"""A cell of the toy experiment: one problem and how it is learnt; and what can be wrong with it before any work."""

import json
import logging
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.errors import HydraException

from dcfm.decentralized import Federation
from dcfm.methods import registry
from dcfm.methods.method import Method
from dcfm.records import read_json
from dcfm.toy.problem import Problem, ProblemSettings, make_problem
from dcfm.toy.score import Sampling
from dcfm.toy.task import ToyTask
from dcfm.toy.training import Training, change_training

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Cell:
    """One problem and how it is learnt.

    Args:
        problem: see :class:`~dcfm.toy.problem.ProblemSettings`; its seed is also that of training and sampling.
        training: of all methods.
        sampling: how fields are sampled.
        changes: settings of single methods that differ from their configuration, e.g. ``{"dfd": {"scale": 1.0}}``.
        tuned: by method, what differs in its own training, nested as in ``configs/toy_training``.

    Raises:
        ValueError: changes that are not settings by name.
    """

    problem: ProblemSettings
    training: Training = field(default_factory=Training)
    sampling: Sampling = field(default_factory=Sampling)
    changes: dict[str, dict[str, Any]] = field(default_factory=dict)
    tuned: dict[str, dict[str, Any]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        for key, changes in (("tuned", self.tuned), ("method_settings", self.changes)):
            if not all(isinstance(value, Mapping) for value in changes.values()):
                raise ValueError(f"{key}={changes!r}; give, by method, settings by name")

    @property
    def task(self) -> ToyTask:
        """What is trained."""
        return ToyTask(self.problem.attributes, self.training.width, self.training.depth)

    @property
    def name(self) -> str:
        """E.g. ``noniid/seed0``, the cell's folder within a run's."""
        return f"{self.problem.partition}/seed{self.problem.seed}"

    def training_of(self, name: str) -> Training:
        """The training of a method.

        Raises:
            ValueError: an unknown key, a value out of range, or another network than the other methods'.
        """
        training = change_training(self.training, self.tuned.get(name, {}))
        if (training.width, training.depth) != (self.training.width, self.training.depth):
            raise ValueError(
                f"tuned.{name} changes the network; all methods have the same, set training.width and depth"
            )
        return training

    def method(self, name: str) -> Method:
        """The method of this name, with the cell's changes.

        Raises:
            ValueError: an unknown name or setting.
        """
        return registry.make(name, **self.changes.get(name, {}))

    def identity(self) -> dict[str, Any]:
        """All settings as plain data."""
        return json.loads(json.dumps(asdict(self)))

    def common(self) -> dict[str, Any]:
        """The settings that all methods share: what a folder's contents must agree with."""
        return {name: value for name, value in self.identity().items() if name not in ("changes", "tuned")}

    def own(self, name: str) -> dict[str, Any]:
        """The settings of one method: what its record must agree with."""
        changes = self.identity()["changes"].get(name, {})
        return {
            "changes": changes,
            "tuned": self.identity()["tuned"].get(name, {}),
            "method": registry.settings_of(name, **changes),
        }


def spread(overrides: Sequence[str]) -> list[str]:
    """Overrides of the command line, a key for each value: of ``a={b: 1}``, ``a.b=1``. What hydra cannot read stays."""

    def parts(key: str, value: Any) -> Iterator[str]:
        if isinstance(value, Mapping):
            for name, inner in value.items():
                yield from parts(f"{key}.{name}", inner)
        else:
            yield f"{key}={value}"

    found: list[str] = []
    for override in overrides:
        key, _, text = override.partition("=")
        try:
            value = OverridesParser.create().parse_override(override).value() if text.startswith("{") else text
        except HydraException:
            value = text
        found += parts(key, value)
    return found


def tell_hidden(overrides: Sequence[str], tuned: Mapping[str, Any], methods: Sequence[str]) -> list[str]:
    """Warn of settings of ``training`` that were given and that a method's own tuning hides.

    Args:
        overrides: of the command line, e.g. ``training.pooled.weight=9``.
        tuned: by method, see :class:`Cell`.
        methods: that are asked for.

    Returns:
        The warnings.
    """
    lines = []
    for override in spread(overrides):
        key, _, value = override.partition("=")
        section, *path = key.lstrip("+").split(".")
        for name in methods if section == "training" and path else ():
            own: Any = tuned.get(name)
            for part in path:
                own = own.get(part) if isinstance(own, Mapping) else None
            if own is not None and not isinstance(own, Mapping):
                place = ".".join(["tuned", name, *path])
                lines.append(
                    f"{override} changes nothing for {name}, whose own {place}={own} goes before; give {place}={value}"
                )
    for line in lines:
        log.warning(line)
    return lines


def record_path(folder: Path, method: str) -> Path:
    """Where a cell's folder holds the record of a finished method."""
    return folder / "records" / f"{method}.json"


def check_cell(cell: Cell, methods: Sequence[str], folder: Path) -> Problem:
    """Everything that can be wrong before training: the problem, the methods' names, and the folder's earlier contents.

    Raises:
        ValueError: with what to do.
    """
    if not methods:
        raise ValueError(f"no methods are asked for; give some of {', '.join(registry.names())}")
    for name in (*methods, *cell.tuned, *cell.changes):
        cell.method(name)
        cell.training_of(name)
    cell.task.network()
    problem = make_problem(cell.problem)
    Federation(cell.task, problem.silos, folder)
    check_settings(folder / "settings.json", cell.common())
    for name in methods:
        check_settings(record_path(folder, name), cell.own(name), "own_settings", younger=("method",))
    return problem


def tell_changed_code(cells: Sequence[Cell], methods: Sequence[str], out: Path) -> list[str]:
    """Warn of methods whose file was changed since records of them were made, which are shown all the same.

    Args:
        cells: under ``out``, their records not damaged.
        methods: that are asked for.

    Returns:
        The warnings.
    """
    lines = []
    for name in methods:
        now = registry.code_hash(name)
        paths = [path for cell in cells if (path := record_path(out / cell.name, name)).exists()]
        # Records of before hashes were kept lack them.
        old = [p for p in paths if json.loads(p.read_text(encoding="utf-8")).get("code_sha256", now) != now]
        if old:
            lines.append(
                f"{name}: {registry.code_of(name)} was changed since {old[0]} was made"
                + (f", and {len(old) - 1} more" if old[1:] else "")
                + "; what is there is shown. Give another out= to run the method as it is now"
            )
    for line in lines:
        log.warning(line)
    return lines


def check_settings(
    path: Path, settings: Mapping[str, Any], key: str | None = None, *, younger: Sequence[str] = ()
) -> None:
    """Raise ``ValueError`` if there is a file ``path`` that holds other settings (under ``key``), or is damaged.

    Args:
        younger: settings that files of before they were recorded lack.
    """
    if not path.exists():
        return
    old = read_json(path, _remedy(path, key), () if key is None else (key,))
    old = old if key is None else old[key]
    settings = {name: value for name, value in settings.items() if name not in younger or name in old}
    differing = sorted(_differences(old, settings))
    if differing:
        raise ValueError(f"{path} is of a run with other settings ({', '.join(differing[:5])}); {_remedy(path, key)}")


def _remedy(path: Path, key: str | None) -> str:
    # A method's record stands alone; its trainings, where it has settings of its own, lie in a folder of their own.
    if key is None:
        return f"choose another out=, or remove {path.parent}"
    own = path.parent.parent / "trainings" / f"tuned_{path.stem}"
    return f"choose another out=, or remove {path}" + (f" and {own}" if own.exists() else "")


def _differences(a: Any, b: Any, name: str = "") -> Iterator[str]:
    if isinstance(a, dict) and isinstance(b, dict):
        for key in a.keys() | b.keys():
            yield from _differences(a.get(key), b.get(key), f"{name}.{key}" if name else str(key))
    elif a != b:
        yield name


def check_cells(cells: Sequence[Cell], methods: Sequence[str], out: Path, workers: int) -> None:
    """Everything that can be wrong with a run before any training.

    Raises:
        ValueError: with what to do.
    """
    names = [cell.name for cell in cells]
    if not cells or len(set(names)) != len(names):
        raise ValueError(f"the partitions and seeds are {names}; give at least one, none twice")
    if workers < 0:
        raise ValueError(f"workers={workers}; give 0 (this process) or more")
    for cell in cells:
        check_cell(cell, methods, out / cell.name)
    tell_changed_code(cells, methods, out)
