"""The two apps of the installed package, under the names that pyproject.toml gives."""

from dcfm.federated.client import app as client
from dcfm.federated.server import app as server

__all__ = ["client", "server"]
