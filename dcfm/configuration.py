"""A script's configuration, checked against a dataclass that names its keys and their types."""

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TypeVar

from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

Schema = TypeVar("Schema")


def typed(config: DictConfig, schema: type[Schema], name: str) -> Schema:
    """The configuration as an instance of ``schema``.

    Args:
        config: what hydra composed.
        schema: a dataclass with the keys and their types.
        name: of the file under ``configs`` that describes the keys, without its ending.

    Raises:
        ValueError: a key that does not exist, or a value of the wrong type.
    """
    try:
        given = OmegaConf.to_object(OmegaConf.merge(OmegaConf.structured(schema), config))
    except OmegaConfBaseException as error:
        raise ValueError(f"{str(error).splitlines()[0]} ({error.full_key}); see configs/{name}.yaml") from error
    assert isinstance(given, schema)
    return given


def writable(out: str | Path) -> Path:
    """The folder ``out``, made if missing.

    Raises:
        ValueError: it cannot be written to.
    """
    folder = Path(out)
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except (FileExistsError, NotADirectoryError) as error:
        raise ValueError(f"out={out} is a file, or lies under one; choose another out=") from error
    if not os.access(folder, os.W_OK):
        raise ValueError(f"out={out} cannot be written to; choose another out=")
    return folder


@contextmanager
def one_line_errors(interrupted: str) -> Iterator[None]:
    """End a script with one line, and a status other than 0, for what its user can mend or wanted.

    Args:
        interrupted: what to say after Ctrl-C, e.g. whether anything was lost.
    """
    try:
        yield
    except ValueError as error:
        sys.exit(f"error: {error}")
    except OSError as error:
        sys.exit(f"error: {error}; make room or choose another out=")
    except KeyboardInterrupt:
        sys.exit(f"interrupted; {interrupted}")
