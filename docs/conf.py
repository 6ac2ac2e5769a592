"""The documentation site: ``make docs`` builds it with Sphinx, warnings being errors, into build/docs. No network."""

import importlib.metadata
import os

os.environ.setdefault("MUJOCO_GL", "disable")  # modules are imported for their docstrings; nothing is drawn

project = "DCFM"
author = "the DCFM developers"
release = importlib.metadata.version("dcfm")
extensions = ["myst_parser", "sphinx.ext.autodoc", "sphinx.ext.napoleon"]
exclude_patterns = ["results"]
myst_heading_anchors = 3
autodoc_default_options = {"members": True, "member-order": "bysource"}
html_theme = "furo"
html_title = "DCFM"
html_show_sphinx = False
html_copy_source = False
