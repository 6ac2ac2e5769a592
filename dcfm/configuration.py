"""A script as seen from the shell: its configuration, its help, and how it ends.

======  ===============================================================================================
status  meaning
======  ===============================================================================================
0       done
2       what was given is wrong: a key, a value, a file. One line says what is allowed; nothing was begun
1       anything else: one line where the user can help (disk full), else a traceback
130     Ctrl-C; one line says what is kept
======  ===============================================================================================
"""

import copyreg
import dataclasses
import difflib
import functools
import importlib.resources
import inspect
import os
import re
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import NoReturn, TypeVar

import hydra
import yaml
from hydra.errors import HydraException
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

Schema = TypeVar("Schema")

# Hydra's launchers send a script's own classes to other processes by value. There is one MISSING: it is sent by name.
copyreg.pickle(type(dataclasses.MISSING), lambda _: "MISSING")

STATUS = "Exit status: 0 done; 2 a key, value or file that was given is wrong; 1 anything else; 130 Ctrl-C."


def script(config: str, interrupted: str) -> Callable[[Callable[[DictConfig], None]], Callable[[], None]]:
    """Make a function the main function of a script, whose module docstring is the script's help.

    Args:
        config: the file under ``configs`` with the script's keys, without its ending, e.g. ``images/train``.
        interrupted: what to say after Ctrl-C, e.g. whether anything was lost.
    """
    *inner, name = config.split("/")
    package = ".".join(["dcfm_configs", *inner])

    def decorate(main: Callable[[DictConfig], None]) -> Callable[[], None]:
        @functools.wraps(main)
        def task(settings: DictConfig) -> None:
            with one_line_errors(interrupted):  # within hydra, which would print what it catches in its own way
                main(settings)

        def start() -> None:
            given = sys.argv[1:]
            if {"-h", "--help"} & set(given):
                sys.stdout.write(help_text(inspect.getdoc(sys.modules[main.__module__]) or "", config))
                return
            with one_line_errors(interrupted):
                if not any(word.startswith("-") for word in given):
                    check_overrides(config, given)
                hydra.main(config_path=f"pkg://{package}", config_name=name, version_base="1.3")(task)()

        return start

    return decorate


def check_overrides(config: str, overrides: Sequence[str]) -> None:
    """Compose a script's configuration with what was given on the command line, to see whether it can be.

    Raises:
        ValueError: no such key or option, or something that hydra cannot read; the text says what is near.
    """
    *inner, name = config.split("/")
    try:
        with hydra.initialize_config_module(".".join(["dcfm_configs", *inner]), version_base="1.3"):
            hydra.compose(name, overrides=list(overrides))
    except (HydraException, OmegaConfBaseException) as error:
        text = " ".join(str(error).split("Config search path")[0].split("To append to your config")[0].split())
        missing = re.match(r"Could not override '([^'.]*)'", text)
        if missing:
            keys = yaml.safe_load((importlib.resources.files("dcfm_configs") / f"{config}.yaml").read_text("utf-8"))
            near = difflib.get_close_matches(missing[1], keys, 1)
            text = f"there is no key {missing[1]!r}" + (f"; did you mean {near[0]!r}?" if near else "")
        raise ValueError(f"{text.rstrip('.')}; --help lists the keys (configs/{config}.yaml)") from error


def help_text(purpose: str, config: str) -> str:
    """What ``--help`` prints: the script's docstring, every key with its meaning, the groups, the exit status."""
    root = importlib.resources.files("dcfm_configs")
    text = (root / f"{config}.yaml").read_text(encoding="utf-8")
    values = yaml.safe_load(text)
    blocks = re.split(r"^(?=[A-Za-z_#])", text, flags=re.MULTILINE)[2:]  # without the first line
    keys = "".join(block for block in blocks if not block.startswith(("defaults:", "hydra:")))
    places = [*config.split("/")[:-1]]  # folders of configs where groups may lie
    places += [p.removeprefix("pkg://dcfm_configs.") for p in values.get("hydra", {}).get("searchpath", [])]
    groups = []
    for entry in values.get("defaults", []):
        if isinstance(entry, str):
            if entry != "_self_":
                groups.append(f"  and the keys of configs/{'/'.join([*places[:1], entry])}.yaml\n")
            continue
        ((group, option),) = entry.items()
        if group.startswith("override "):
            continue
        folder, _, under = group.partition("@")
        place = next(p for p in [*(f"{inner}/{folder}" for inner in places), folder] if (root / p).is_dir())
        options = sorted(Path(f.name).stem for f in (root / place).iterdir() if f.name.endswith(".yaml"))
        said = f"keys under {under}." if under else "keys"
        groups.append(f"  {group}={option}  ({', '.join(options)}): {said} explained in configs/{place}/*.yaml\n")
    parts = [
        purpose.strip() + "\n",
        f"Keys and their defaults; give key=value, with quotes where there is a list: 'key=[a,b]'\n\n{keys.strip()}\n",
        *(["Groups; give group=option, or any of the option's keys\n\n" + "".join(groups)] if groups else []),
        f"--cfg job prints the configuration instead of running.\n{STATUS}\n",
    ]
    return "\n".join(parts)


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
        _end(f"error: {error}", 2)
    except OSError as error:
        _end(f"error: {error}; make room or choose another out=", 1)
    except KeyboardInterrupt:
        _end(f"interrupted; {interrupted}", 130)


def _end(line: str, status: int) -> NoReturn:
    sys.stderr.write(line + "\n")
    sys.exit(status)
