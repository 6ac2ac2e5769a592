"""Finding a GL with which mujoco can draw, before mujoco is imported.

``MUJOCO_GL`` decides once, when mujoco is imported, and a backend that does not work may fail late, draw black or hang.
So each candidate draws a small scene in a process of its own, under a time limit, and is taken only if the picture is
not black. Where no pictures are drawn, mujoco is imported :func:`without_pictures`, which needs no GL at all; a process
that wants pictures after that, or after mujoco chose a GL that cannot draw, is given one that can.
"""

from __future__ import annotations

import functools
import importlib
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Final

PROBE_TIMEOUT: Final = 20.0
"""Seconds that a backend has to draw one picture."""

DISABLED: Final = ("disable", "disabled", "off", "false", "0")
"""Values of ``MUJOCO_GL`` with which mujoco draws nothing."""

_CANDIDATES: Final = {"linux": ("egl", "osmesa", "glfw"), "darwin": ("cgl", "glfw"), "win32": ("wgl",)}

_REMEDY: Final = (
    "install a software renderer (Debian/Ubuntu: apt-get install libegl1 libgl1-mesa-dri for MUJOCO_GL=egl, or "
    "libosmesa6 for MUJOCO_GL=osmesa), or run without video"
)

_PROBE: Final = """
import mujoco
model = mujoco.MjModel.from_xml_string(
    "<mujoco><worldbody><light pos='0 0 3'/><geom type='sphere' size='1' rgba='1 1 1 1'/></worldbody></mujoco>")
data = mujoco.MjData(model)
mujoco.mj_forward(model, data)
with mujoco.Renderer(model, 32, 32) as renderer:
    renderer.update_scene(data)
    raise SystemExit(0 if renderer.render().max() > 0 else "it drew a black picture")
"""


_OFF: Final = (
    "mujoco was imported with its rendering switched off; start Python without MUJOCO_GL=disable (on a machine without "
    "a screen: MUJOCO_GL=egl), or run without video"
)

_switched_off: list[bool] = []
"""Filled once :func:`without_pictures` has imported mujoco."""


class RenderingError(ValueError):
    """Pictures are asked for and cannot be drawn on this machine; the text says what was tried and what to install."""


@functools.cache
def _failure(backend: str, timeout: float) -> str:
    """Why ``backend`` cannot draw here, in one line; empty where it can."""
    try:
        run = subprocess.run(
            [sys.executable, "-c", _PROBE],
            env=os.environ | {"MUJOCO_GL": backend},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            errors="replace",
            timeout=timeout,
            check=False,
        )
    except subprocess.TimeoutExpired:
        return f"it drew nothing within {timeout:g} s"
    lines = run.stderr.strip().splitlines() or [f"it ended with exit status {run.returncode}"]
    causes = [line for line in lines if "Error" in line]
    return (causes or lines)[-1].strip() if run.returncode else ""


def find_gl_backend(timeout: float = PROBE_TIMEOUT) -> str:
    """The value of ``MUJOCO_GL`` with which mujoco draws here.

    A value that is set already is the only one tried; otherwise, on Linux, egl, osmesa and glfw in this order.

    Args:
        timeout: seconds for each candidate.

    Raises:
        RenderingError: none draws, or ``MUJOCO_GL`` switches drawing off.
    """
    given = os.environ.get("MUJOCO_GL", "").strip().lower()
    if given in DISABLED:
        raise RenderingError(
            f"pictures are asked for, and MUJOCO_GL={given} switches them off: unset MUJOCO_GL, or run without video"
        )
    failures = {}
    for backend in (given,) if given else _CANDIDATES.get(sys.platform, ("glfw",)):
        failures[backend] = _failure(backend, timeout)
        if not failures[backend]:
            return backend
    tried = "; ".join(f"MUJOCO_GL={backend}: {reason}" for backend, reason in failures.items())
    raise RenderingError(f"mujoco cannot draw on this machine ({tried}). To get pictures, {_REMEDY}.")


@contextmanager
def without_pictures() -> Iterator[None]:
    """Import mujoco, and what imports it, in the block: no GL is loaded, and no picture can be drawn in this process.

    A value of ``MUJOCO_GL`` that is set stays. Else it is unset again after the block, since processes that are started
    later inherit it, and may want to draw.
    """
    if "MUJOCO_GL" in os.environ:
        yield
        return
    imported = "mujoco" in sys.modules
    os.environ["MUJOCO_GL"] = DISABLED[0]
    try:
        yield
    finally:
        os.environ.pop("MUJOCO_GL", None)
        if not imported and "mujoco" in sys.modules:
            _switched_off.append(True)


def prepare_rendering(timeout: float = PROBE_TIMEOUT) -> str:
    """Make sure that mujoco can draw in this process: choose a backend and set ``MUJOCO_GL`` for it.

    To be called before mujoco is imported; after that, the choice can only be checked.

    Returns:
        the backend.

    Raises:
        RenderingError: no backend draws here, or mujoco was imported with drawing switched off by the user.
    """
    mujoco = sys.modules.get("mujoco")
    off = mujoco is not None and not hasattr(mujoco, "GLContext")
    if off and not _switched_off:
        raise RenderingError(_OFF)
    given = os.environ.get("MUJOCO_GL")
    default = "cgl" if sys.platform == "darwin" else "glfw"  # what mujoco takes where MUJOCO_GL is not set
    if mujoco is not None and not off and not given and not _failure(default, timeout):
        return default
    backend = find_gl_backend(timeout)
    os.environ["MUJOCO_GL"] = backend
    if mujoco is not None and (off or not given):
        _choose_again(mujoco, backend)
    return backend


def _choose_again(mujoco: Any, backend: str) -> None:
    """Let mujoco, which is imported, choose its GL by ``MUJOCO_GL`` as it is now: it does so in a module of its own,
    where every new renderer looks."""
    names = ("mujoco.rendering.classic.gl_context", "mujoco.gl_context")  # where newer and older versions have it
    chosen = [importlib.reload(sys.modules[name]) for name in names if name in sys.modules]
    context = getattr(chosen[0], "GLContext", None) if chosen else None
    if context is None:
        raise RenderingError(
            f"mujoco was imported before MUJOCO_GL was set, and this version cannot choose again: start Python with "
            f"MUJOCO_GL={backend}"
        )
    mujoco.GLContext = context
