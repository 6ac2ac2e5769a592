"""Decentralized compositional flow matching: generative models that compose factors no silo has seen together."""

from importlib import metadata

try:
    __version__ = metadata.version("dcfm")
except metadata.PackageNotFoundError:  # a source tree on the path, not installed
    __version__ = "unknown"
