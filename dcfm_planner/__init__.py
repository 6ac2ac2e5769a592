"""A planner for pick-and-place between quadrants, trained by silos that exchange no trajectory.

Importing this package does not import mujoco.
"""

from dcfm_planner.agent import PlannerAgent
from dcfm_planner.feasibility import Feasibility, check
from dcfm_planner.models import available, load_planner
from dcfm_planner.plan import Plan
from dcfm_planner.planner import HeldEntries, Planner
from dcfm_planner.quadrants import QUADRANTS

__all__ = [
    "QUADRANTS",
    "Feasibility",
    "HeldEntries",
    "Plan",
    "Planner",
    "PlannerAgent",
    "available",
    "check",
    "load_planner",
]
