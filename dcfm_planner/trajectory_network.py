"""A field over short trajectories of any layout: a residual MLP that predicts the clean trajectory.

    h_0     = W [x_t, held] + c,     c = time + labels
    h_{b+1} = h_b + V_b silu(U_b (norm(h_b) (1 + scale_b(c)) + shift_b(c)))
    x1_hat  = W' norm(h_B)

The velocity follows, ``v = (x1_hat - x_t) / max(1 - t, 0.02)``, and is zero where entries are held. Every entry sees
every other, so held ones are not overlooked, and a step costs milliseconds on a core. Long plans and millimetres want a
temporal U-Net with anchors, as the cube has (:mod:`dcfm_planner.network`).
"""

from collections.abc import Sequence

import torch
from einops import rearrange
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn

from dcfm.networks.embedding import sinusoidal_embedding
from dcfm.path import velocity_from_clean


class TrajectoryNetwork(nn.Module):
    """A velocity field over normalised trajectories.

    Args:
        cardinalities: values of each attribute; one embedding row more each for the null token.
        horizon: steps of a trajectory.
        columns: of a step.
        widths: hidden units of each block.
        condition: size of the embedding of time and labels.
    """

    def __init__(
        self,
        cardinalities: Sequence[int],
        horizon: int,
        columns: int,
        widths: Sequence[int] = (512, 512, 512),
        condition: int = 256,
    ) -> None:
        super().__init__()
        size = horizon * columns
        self.time = nn.Sequential(nn.Linear(64, condition), nn.SiLU(), nn.Linear(condition, condition))
        self.labels = nn.ModuleList(nn.Embedding(n + 1, condition) for n in cardinalities)
        self.enter = nn.Linear(2 * size, condition)
        self.modulation = nn.ModuleList(nn.Linear(condition, 2 * condition) for _ in widths)
        self.up = nn.ModuleList(nn.Linear(condition, width) for width in widths)
        self.down = nn.ModuleList(nn.Linear(width, condition) for width in widths)
        self.norm = nn.LayerNorm(condition, elementwise_affine=False)
        self.leave = nn.Linear(condition, size)
        self.act = nn.SiLU()

    def forward(
        self,
        x: Float[Tensor, "batch horizon columns"],
        t: Float[Tensor, " batch"],
        y: Int[Tensor, "batch k"],
        held: Bool[Tensor, "batch horizon columns"] | None = None,
    ) -> Float[Tensor, "batch horizon columns"]:
        flags = torch.zeros_like(x) if held is None else held.to(x.dtype)
        condition = self.time(sinusoidal_embedding(t, 64))
        for i, table in enumerate(self.labels):
            condition = condition + table(y[:, i])
        h = self.enter(torch.cat([x, flags], dim=2).flatten(1)) + condition
        for modulation, up, down in zip(self.modulation, self.up, self.down, strict=True):
            scale, shift = modulation(self.act(condition)).chunk(2, dim=1)
            h = h + down(self.act(up(self.norm(h) * (1 + scale) + shift)))
        clean = rearrange(self.leave(self.norm(h)), "b (h c) -> b h c", h=x.shape[1])
        velocity = velocity_from_clean(clean, x, t)
        return velocity if held is None else velocity.masked_fill(held, 0.0)
