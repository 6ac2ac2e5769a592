"""Tests of the environments draw nothing in this process; those that draw start one of their own."""

import os

os.environ.setdefault("MUJOCO_GL", "disable")  # before mujoco is imported
