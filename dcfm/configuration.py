"""A script as seen from the shell: its configuration, its help, and how it ends.

======  ===============================================================================================
status  meaning
======  ===============================================================================================
0       done
2       what was given is wrong: a key, a value, a file. One line says what is allowed
1       anything else: one line where the user can help (disk full), else a traceback
130     Ctrl-C; one line says what is kept
======  ===============================================================================================

``DCFM_TRACEBACK=1`` in the environment shows where the one line comes from, which may be code of yours.
"""

import copyreg
import dataclasses
import difflib
import errno
import functools
import importlib.resources
import importlib.util
import inspect
import json
import os
import re
import sys
import traceback
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Final, NoReturn, TypeVar

import hydra
import yaml
from hydra.errors import HydraException, OverrideParseException
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

Schema = TypeVar("Schema")

# Hydra's launchers send a script's own classes to other processes by value. There is one MISSING: it is sent by name.
copyreg.pickle(type(dataclasses.MISSING), lambda _: "MISSING")

OWN: Final = ("dcfm", "dcfm_planner", "dcfm_envs", "dcfm_images", "dcfm_xray")
"""This project's packages."""
REMOTE: Final = "_RemoteTraceback"
"""What ``concurrent.futures`` names the cause of an error from another process."""

NO_ROOM: Final = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
"""What the system says where a disk, a quota or a file is full."""

STATUS = (
    "Exit status: 0 done; 2 a key, value or file that was given is wrong; 1 anything else; 130 Ctrl-C.\n"
    "DCFM_TRACEBACK=1 in the environment shows where an error comes from."
)


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
                os.environ.setdefault("HYDRA_FULL_ERROR", "1")  # hydra raises, instead of printing in its own way
                try:
                    hydra.main(config_path=f"pkg://{package}", config_name=name, version_base="1.3")(task)()
                except (HydraException, OmegaConfBaseException) as error:
                    raise ValueError(described(error, config, given)) from error

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
        raise ValueError(described(error, config, overrides)) from error


def described(error: Exception, config: str, overrides: Sequence[str]) -> str:
    """One line for what hydra could not compose: what was given, and what is near."""
    text = " ".join(str(error).split("Config search path")[0].split("To append to your config")[0].split())
    if isinstance(error, OverrideParseException):
        how = """lists in brackets, values with = or spaces in double quotes, all of it in single ones: 'k=["a=1"]'"""
        text = f"cannot read {error.override!r}; give key=value" + (f", {how}" if "=" in error.override else "")
    if missing := re.match(r"Could not override '([^']*)'", text):
        text = _near(missing[1], config, overrides)
    return f"{text.rstrip('.')}; --help lists the keys (configs/{config}.yaml)"


def _near(key: str, config: str, overrides: Sequence[str]) -> str:
    """What to say of a key that cannot be given: groups that were chosen count, other values do not."""
    *inner, name = config.split("/")
    module = ".".join(["dcfm_configs", *inner])
    groups = [word for word in overrides if re.fullmatch(r"[\w/@]+=[\w-]+", word)]
    composed = DictConfig({})
    for given in (groups, []):
        try:
            with hydra.initialize_config_module(module, version_base="1.3"):
                composed = hydra.compose(name, overrides=given)
            break
        except (HydraException, OmegaConfBaseException):
            continue
    above, _, last = key.rpartition(".")
    if shared := _shared(key, composed):
        return shared
    within = OmegaConf.select(composed, above) if above else composed
    if not isinstance(within, DictConfig):
        return f"there is no key {key!r}, since there is no {above!r}"
    if last in within:
        return f"{key} takes new keys one by one and with a plus: '+{key}.NAME=VALUE'"
    close = difflib.get_close_matches(last, [str(name) for name in within], 1)
    return f"there is no key {key!r}" + (
        f"; did you mean {'.'.join([*above.split('.'), close[0]]).lstrip('.')!r}?" if close else ""
    )


def _shared(key: str, composed: DictConfig) -> str | None:
    """What to say of a key within a section that is another section of the same configuration."""
    parts, within = key.split("."), OmegaConf.to_container(composed)  # which keeps references as they are written
    for number, part in enumerate(parts[:-1], 1):
        within = within.get(part) if isinstance(within, dict) else None
        if isinstance(within, str) and (other := re.fullmatch(r"\$\{([\w.]+)\}", within)):
            section, there = ".".join(parts[:number]), ".".join([other[1], *parts[number:]])
            return f"{section} is {other[1]}, so {key} is no setting of its own; give {there}, which is for both"
    return None


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
        key = error.full_key
        if "is not a ListConfig" in str(error):
            value = OmegaConf.select(config, str(key))
            raise ValueError(
                f"{key}={value}: give a list, quoted: '{key}=[{value}]'; see configs/{name}.yaml"
            ) from error
        if "missing mandatory value" in str(error):
            raise ValueError(f"{key}= is missing; give {key}=VALUE, see configs/{name}.yaml") from error
        raise ValueError(f"{str(error).splitlines()[0]} ({key}); see configs/{name}.yaml") from error
    assert isinstance(given, schema)
    if empty := [name for name, value in vars(given).items() if value == ""]:
        raise ValueError(f"{empty[0]}= is empty; give a value, or leave the key out (configs/{name}.yaml)")
    return given


def writable(out: str | Path, key: str = "out") -> Path:
    """The folder ``out``, made if missing; ``key``: what it is given by.

    Raises:
        ValueError: it cannot be written to.
    """
    folder = Path(out)
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except (FileExistsError, NotADirectoryError) as error:
        raise ValueError(f"{key}={out} is a file, or lies under one; choose another {key}=") from error
    if not os.access(folder, os.W_OK):
        raise ValueError(f"{key}={out} cannot be written to; choose another {key}=")
    return folder


def check_same_settings(
    out: Path,
    config: DictConfig,
    *,
    made: str = "metrics.json",
    apart: Sequence[str] = ("out", "device", "workers"),
    weights: str | None = None,
) -> None:
    """Raise ``ValueError`` if a folder holds the results of other settings or weights, which would be lost.

    Args:
        out: where ``config.yaml`` tells what ``made``, if it is there, was made with.
        config: what hydra composed.
        made: the file of results.
        apart: keys that do not change results.
        weights: SHA-256 of what is evaluated, to be compared with ``weights_sha256`` of ``metrics.json`` where it is.
    """
    path, metrics = out / "config.yaml", out / made
    if not metrics.is_file():
        return
    if weights is not None:
        _check_same_weights(metrics, weights)
    if not path.is_file():
        return
    try:
        there = OmegaConf.to_container(OmegaConf.load(path), resolve=True)
    except (OmegaConfBaseException, yaml.YAMLError) as error:
        raise ValueError(
            f"{path} is damaged ({str(error).splitlines()[0]}); remove {out}, or choose another out="
        ) from error
    now = yaml.safe_load(OmegaConf.to_yaml(config, resolve=True))
    assert isinstance(there, dict)
    changed = [key for key in now if key not in apart and key in there and there[key] != now[key]]
    if changed:
        said = ", ".join(f"{key}={there[key]} there, {now[key]} now" for key in changed[:3])
        raise ValueError(f"{out} holds the results of other settings ({said}); choose another out=, or remove it")


def _check_same_weights(metrics: Path, weights: str) -> None:
    out = metrics.parent
    try:
        there = json.loads(metrics.read_text(encoding="utf-8")).get("weights_sha256", weights)
    except (ValueError, AttributeError) as error:
        raise ValueError(f"{metrics} is damaged ({error}); remove {out}, or choose another out=") from error
    if there != weights:
        raise ValueError(
            f"{out} holds the results of other weights ({str(there)[:12]}... there, {weights[:12]}... now); choose "
            "another out=, or remove it"
        )


@contextmanager
def one_line_errors(interrupted: str) -> Iterator[None]:
    """End a script with one line, and a status other than 0, for what its user can mend or wanted.

    Args:
        interrupted: what to say after Ctrl-C, e.g. whether anything was lost.
    """
    try:
        yield
    except ValueError as error:
        if os.environ.get("DCFM_TRACEBACK", "0") not in ("", "0"):
            traceback.print_exc()
        _end(f"error: {error}{_raised_elsewhere(error)}", 2)
    except BrokenPipeError:  # whoever read what is printed has gone, e.g. head; what is written is written
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
        sys.exit(1)
    except OSError as error:
        _end(f"error: {error}" + ("; make room or choose another out=" if error.errno in NO_ROOM else ""), 1)
    except FloatingPointError as error:  # a training that diverged, and what to change
        _end(f"error: {error}", 1)
    except KeyboardInterrupt:
        _end(f"interrupted; {interrupted}", 130)


def _raised_elsewhere(error: ValueError) -> str:
    """Where an error comes from that none of this project's packages raised: it may be a mistake in somebody's code."""
    # What another process raised comes with that process's traceback as text.
    way = "".join(traceback.format_exception(error.__cause__ if type(error.__cause__).__name__ == REMOTE else error))
    file, line = re.findall(r'File "([^"]+)", line (\d+)', way)[-1]
    specs = [spec for name in OWN if (spec := importlib.util.find_spec(name))]
    folders = [folder for spec in specs for folder in spec.submodule_search_locations or ()]
    own = Path(file).resolve() == Path(sys.argv[0]).resolve()  # which is as it was typed
    if own or any(Path(file).is_relative_to(folder) for folder in folders):
        return ""
    return f" (raised in {file}, line {line}; DCFM_TRACEBACK=1 shows the way there)"


def _end(line: str, status: int) -> NoReturn:
    sys.stderr.write(line + "\n")
    sys.exit(status)
