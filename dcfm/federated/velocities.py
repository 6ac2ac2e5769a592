"""Whether a network that a silo sent is one that others can go on with: finite weights can still be absurd, and would
end the training of all silos, or the student's, without a name."""

from typing import Final

import torch

from dcfm.task import Task, build_network
from dcfm.weights import Weights

SAMPLES: Final = 8
"""Of noise, each at a time of its own."""
LARGEST: Final = 1e6
"""Root mean square of a velocity; a flow from standard normal noise has about that of the data."""


def check_velocities(task: Task, weights: Weights) -> None:
    """Raise ``ValueError`` unless the task's network with these weights gives velocities of at most :data:`LARGEST`."""
    network = build_network(task, weights).eval()
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(SAMPLES, *task.shape, generator=generator)
    t = torch.linspace(0.05, 0.95, SAMPLES)
    with torch.no_grad():
        size = float(network(x, t, task.space.null.expand(SAMPLES, -1)).double().square().mean().sqrt())
    if not size <= LARGEST:  # NaN too
        raise ValueError(f"its network gives velocities of {size:.3g} on noise, at most {LARGEST:g} can be of use")
