"""Scripts as users call them, one process each.

A process that has imported what is slow to import (libraries, never this package) is forked for every call, which saves
seconds a call. What differs from a call in a shell is that alone; ``tests/test_readme.py`` calls scripts in full.
"""

import importlib.util
import multiprocessing
import os
import runpy
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path
from types import ModuleType
from typing import Final

REPOSITORY: Final = Path(__file__).parents[1]
LIBRARIES: Final = (
    "einops",
    "gymnasium",
    "hydra",
    "jaxtyping",
    "matplotlib.backends.backend_agg",
    "matplotlib.figure",
    "safetensors.torch",
    "scipy.stats",
    "statsmodels.stats.proportion",
    "torch",
    "tqdm",
)
"""Not mujoco and what imports it: it looks at ``MUJOCO_GL`` when it is imported."""

os.environ.setdefault("OMP_NUM_THREADS", "1")  # read when torch is imported
_forks = multiprocessing.get_context("forkserver")
_forks.set_forkserver_preload(list(LIBRARIES))


def run_script(
    script: str, *words: str, environment: Mapping[str, str] | None = None, timeout: float = 280
) -> subprocess.CompletedProcess[str]:
    """``python script words`` in the repository's root.

    Args:
        script: its path from there.
        words: its arguments.
        environment: its environment variables; ``None`` for those of the tests.
        timeout: seconds after which it is killed and ``subprocess.TimeoutExpired`` raised.
    """
    environment = dict(os.environ if environment is None else environment)
    with tempfile.TemporaryDirectory() as folder:
        said = {1: Path(folder) / "out", 2: Path(folder) / "err"}
        process = _forks.Process(target=_be, args=(script, words, environment, said))
        process.start()
        process.join(timeout)
        if process.exitcode is None:
            process.kill()
            process.join()
            raise subprocess.TimeoutExpired([script, *words], timeout, said[1].read_bytes(), said[2].read_bytes())
        texts = [path.read_text() if path.exists() else "" for path in said.values()]
    return subprocess.CompletedProcess(["python", script, *words], process.exitcode, *texts)


def script_module(script: str) -> ModuleType:
    """A script, by its path from the repository's root, as a module whose functions can be called here."""
    name = "_".join(Path(script).with_suffix("").parts[1:])
    spec = importlib.util.spec_from_file_location(name, REPOSITORY / script)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module  # dataclasses look their module up
    spec.loader.exec_module(module)
    return module


def _be(script: str, words: tuple[str, ...], environment: dict[str, str], said: dict[int, Path]) -> None:
    """Turn this process into the script's."""
    for number, path in said.items():
        os.dup2(os.open(path, os.O_WRONLY | os.O_CREAT, 0o600), number)
    os.chdir(REPOSITORY)
    os.environ.clear()
    os.environ.update(environment)
    sys.argv = [script, *words]
    ours = ("", str(REPOSITORY))  # a script does not see the folder that it is called from
    given = [place for place in environment.get("PYTHONPATH", "").split(os.pathsep) if place]
    sys.path[:] = [str(Path(script).parent.resolve()), *given, *(place for place in sys.path if place not in ours)]
    runpy.run_path(script, run_name="__main__")
