"""Methods by name. One YAML file under ``configs/registry`` is one method: its class and the class's settings.

A new method is one file here with a :class:`~dcfm.methods.method.Method` and one such YAML file; tables, scripts and
artefacts then know it by the YAML file's name. Or both are in a package of somebody else, which names the folder of its
YAML files as an entry point of :data:`GROUP`.
"""

import importlib.resources
import inspect
from collections.abc import Iterable
from functools import cache
from importlib.metadata import entry_points
from pathlib import Path
from typing import Any, Final

import yaml
from hydra.errors import InstantiationException
from hydra.utils import instantiate

from dcfm.artefacts import file_hash
from dcfm.methods.method import Method

FOLDER = Path(str(importlib.resources.files("dcfm_configs"))) / "registry"
"""Where the methods of this package are listed."""

GROUP: Final = "dcfm.methods"
"""Entry points of other installed packages; each names a package in whose folder more methods are listed."""


class MethodError(ValueError):
    """There is no such method, or not with such settings."""


def names() -> tuple[str, ...]:
    """All methods, in alphabetical order."""
    return tuple(sorted(_listed()))


def _listed() -> dict[str, Path]:
    """The YAML file of each method, by name."""
    found: dict[str, Path] = {}
    for folder in (FOLDER, *_folders_of_others()):
        for path in folder.glob("*.yaml"):
            if path.stem in found:
                raise MethodError(f"{found[path.stem]} and {path} have the same name; rename the one that is yours")
            found[path.stem] = path
    return found


@cache
def _folders_of_others() -> tuple[Path, ...]:
    folders = []
    for point in entry_points(group=GROUP):
        whose = "" if point.dist is None else f" of {point.dist.name}"
        try:
            folders.append(Path(str(importlib.resources.files(point.value))))
        except (ImportError, TypeError) as error:
            raise MethodError(
                f"{GROUP} {point.name}{whose} names {point.value}, which is no package that can be imported ({error}); "
                "mend or uninstall it"
            ) from error
    return tuple(folders)


def baselines(methods: Iterable[str]) -> tuple[str, ...]:
    """Those of the methods that tables hold the others against, in the given order."""
    return tuple(name for name in methods if (made := make(name)).decentralised and made.baseline)


def contenders(methods: Iterable[str]) -> tuple[str, ...]:
    """Those of the methods that are held against the :func:`baselines`: DCFM's, and whatever else is registered."""
    return tuple(name for name in methods if (made := make(name)).decentralised and not made.baseline)


def settings_of(name: str, **changes: Any) -> dict[str, Any]:
    """The class and the settings of the method of this name, as listed but for ``changes``.

    Raises:
        MethodError: an unknown name, or a file that is no such list.
    """
    listed = _listed()
    if name not in listed:
        raise MethodError(f"unknown method {name!r}; the methods are {', '.join(sorted(listed))}")
    path = listed[name]
    try:
        settings = yaml.safe_load(path.read_text(encoding="utf-8"))
    except yaml.YAMLError as error:
        raise MethodError(f"{path} is no YAML: {error}") from error
    if not isinstance(settings, dict) or "_target_" not in settings:
        raise MethodError(f"{path} names no class; begin it with _target_: and the class's full name")
    return settings | changes


def own_settings(name: str) -> dict[str, Any]:
    """What makes the method of this name what it is: :func:`settings_of` without the title, which is for people.

    Results and models carry it: a method whose YAML file was changed since is another one.
    """
    return {key: value for key, value in settings_of(name).items() if key != "title"}


def make(name: str, **changes: Any) -> Method:
    """The method of this name, some of its settings changed.

    Raises:
        MethodError: an unknown name, or settings that the method does not have.
    """
    settings = settings_of(name, **changes)
    try:
        method = instantiate(settings)
    except InstantiationException as error:
        given = f" with {changes}" if changes else ""
        cause = str(error.__cause__ or error).partition("\nset env variable")[0]
        raise MethodError(f"method {name}, {_listed()[name]}, cannot be made{given}: {cause}") from error
    if not isinstance(method, Method):
        raise MethodError(f"{_listed()[name]} names {settings.get('_target_')}, which is no dcfm Method")
    return method


def code_of(name: str) -> Path:
    """The file that the class of the method of this name is written in.

    Raises:
        MethodError: as :func:`make`.
    """
    return Path(inspect.getfile(type(make(name))))


def code_hash(name: str) -> str:
    """The SHA-256 of :func:`code_of`: whether a method was changed since something was made with it. What it calls in
    other files is not looked at."""
    return file_hash(code_of(name))
