"""The planner's network: a field over plans that predicts the clean trajectory relative to *anchors*.

A pick-and-place is made of few places: where the effector starts, where the cube starts, where it ends. The network
estimates them from the noisy plan - or reads them off exactly where they are held - and writes every position as a
convex mixture of anchors plus a residual:

    effector_h = g_1 effector_start + g_2 cube_start + g_3 cube_end + residual
    cube_h     = c_1 cube_start + c_2 cube_end + c_3 effector_h + residual

with weights ``g, c`` per time step from a softmax. A held start or goal thus moves the whole plan with it, to the
precision of the residual, and a resting cube rests. This is the answer to what was seen without it: plans that ignore
a held entry, because one frame in a hundred gives too little gradient.

The velocity follows from the clean trajectory, ``v = (x1_hat - x_t) / max(1 - t, 0.02)``, and is zero where held.
"""

from collections.abc import Sequence

import torch
from einops import rearrange
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn

from dcfm.networks.embedding import sinusoidal_embedding
from dcfm.path import velocity_from_clean
from dcfm_planner.layout import COLUMNS, STATE_COLUMNS, TRANSITION
from dcfm_planner.temporal_unet import TemporalUNet

POSE = 5
"""Numbers of a pose: position (3) and symmetric yaw (2)."""

_EFFECTOR = slice(COLUMNS["effector_position"].start, COLUMNS["effector_yaw"].stop)
_CUBE = slice(COLUMNS["cube_position"].start, COLUMNS["cube_yaw"].stop)
_REST = slice(COLUMNS["gripper_opening"].start, COLUMNS["gripper_contact"].stop)
EFFECTOR_ANCHORS = 3
CUBE_ANCHORS = 3
ANCHORS = 3 * POSE
"""Numbers of the three anchors: effector at the start, cube at the start, cube at the end."""

LINEAR_ESTIMATES = 4
"""Linear estimates of the anchors from the noisy plan, blended according to the condition (mostly the time)."""


class PlanNetwork(nn.Module):
    """The planner's velocity field.

    Args:
        cardinalities: values of each attribute; one embedding row more each for the null token.
        horizon: steps of a plan.
        fold, channels: of the temporal U-Net.
        condition: size of the embedding of time, labels and held entries.
    """

    def __init__(
        self,
        cardinalities: Sequence[int],
        horizon: int = 96,
        fold: int = 8,
        channels: Sequence[int] = (128, 192),
        condition: int = 128,
    ) -> None:
        super().__init__()
        self.horizon = horizon
        self.time = nn.Sequential(nn.Linear(64, condition), nn.SiLU(), nn.Linear(condition, condition))
        self.labels = nn.ModuleList(nn.Embedding(n + 1, condition) for n in cardinalities)
        # What is held at the start, at the end, and in the last held step before the first free one: values and flags.
        self.held = nn.Sequential(
            nn.Linear(6 * STATE_COLUMNS + 1, condition), nn.SiLU(), nn.Linear(condition, condition)
        )
        self.unet = TemporalUNet(
            2 * TRANSITION, TRANSITION + EFFECTOR_ANCHORS + CUBE_ANCHORS, horizon, fold, channels, condition
        )
        self.linear_anchors = nn.Linear(horizon * TRANSITION, LINEAR_ESTIMATES * ANCHORS)
        self.anchor_blend = nn.Linear(condition, LINEAR_ESTIMATES)
        self.anchor_correction = nn.Linear(self.unet.summary_size, ANCHORS)
        self.action_gain = nn.Parameter(torch.zeros(POSE))
        nn.init.zeros_(self.anchor_correction.weight)
        nn.init.zeros_(self.anchor_correction.bias)

    def clean(
        self,
        x: Float[Tensor, "batch horizon columns"],
        t: Float[Tensor, " batch"],
        y: Int[Tensor, "batch k"],
        held: Bool[Tensor, "batch horizon columns"] | None = None,
    ) -> Float[Tensor, "batch horizon columns"]:
        """The clean trajectory that the noisy one at time ``t`` is expected to come from."""
        flags = torch.zeros_like(x) if held is None else held.to(x.dtype)
        condition = self.time(sinusoidal_embedding(t, 64)) + self.held(held_summary(x, flags))
        for i, table in enumerate(self.labels):
            condition = condition + table(y[:, i])
        out, summary = self.unet(torch.cat([x, flags], dim=2), condition)
        anchors = self._anchors(x, flags, condition, summary)
        return self._assemble(out, anchors)

    def forward(
        self,
        x: Float[Tensor, "batch horizon columns"],
        t: Float[Tensor, " batch"],
        y: Int[Tensor, "batch k"],
        held: Bool[Tensor, "batch horizon columns"] | None = None,
    ) -> Float[Tensor, "batch horizon columns"]:
        velocity = velocity_from_clean(self.clean(x, t, y, held), x, t)
        return velocity if held is None else velocity.masked_fill(held, 0.0)

    def _anchors(
        self,
        x: Float[Tensor, "batch horizon columns"],
        flags: Float[Tensor, "batch horizon columns"],
        condition: Float[Tensor, "batch condition"],
        summary: Float[Tensor, "batch summary"],
    ) -> Float[Tensor, "batch anchors pose"]:
        """Effector at the start, cube at the start, cube at the end: estimated, or exact where held."""
        linear = rearrange(self.linear_anchors(x.flatten(1)), "b (e a) -> b e a", e=LINEAR_ESTIMATES)
        blend = self.anchor_blend(condition)[..., None]
        estimate = (blend * linear).sum(1) + self.anchor_correction(summary)
        given = torch.cat([x[:, 0, _EFFECTOR], x[:, 0, _CUBE], x[:, -1, _CUBE]], dim=1)
        is_given = torch.cat([flags[:, 0, _EFFECTOR], flags[:, 0, _CUBE], flags[:, -1, _CUBE]], dim=1)
        return rearrange(torch.where(is_given > 0, given, estimate), "b (n p) -> b n p", p=POSE)

    def _assemble(
        self,
        out: Float[Tensor, "batch horizon outputs"],
        anchors: Float[Tensor, "batch anchors pose"],
    ) -> Float[Tensor, "batch horizon columns"]:
        residual = out[..., :TRANSITION]
        effector_mix = out[..., TRANSITION : TRANSITION + EFFECTOR_ANCHORS].softmax(-1)
        cube_mix = out[..., TRANSITION + EFFECTOR_ANCHORS :].softmax(-1)
        effector = effector_mix @ anchors + residual[..., _EFFECTOR]
        cube = cube_mix[..., :2] @ anchors[:, 1:] + cube_mix[..., 2:] * effector + residual[..., _CUBE]
        # An action asks for a displacement: the planned one, scaled, is offered to the columns of motion.
        motion = self.action_gain * torch.diff(effector, dim=1, append=effector[:, -1:])
        asked = torch.cat([motion[..., :3], motion[..., 3:].sum(-1, keepdim=True)], dim=-1)
        action = residual[..., STATE_COLUMNS:] + nn.functional.pad(asked, (0, 1))
        return torch.cat([effector, residual[..., _REST], cube, action], dim=-1)


def held_summary(
    x: Float[Tensor, "batch horizon columns"], flags: Float[Tensor, "batch horizon columns"]
) -> Float[Tensor, "batch summary"]:
    """Values and flags held at the first, the last, and the latest step of a held prefix, and how long that is."""
    states, given = x[..., :STATE_COLUMNS], flags[..., :STATE_COLUMNS]
    prefix = given.amin(-1).cumprod(1).sum(1).long()
    latest = (prefix - 1).clamp(min=0)
    batch = torch.arange(len(x), device=x.device)
    parts = []
    for values, flag in (
        (states[:, 0], given[:, 0]),
        (states[:, -1], given[:, -1]),
        (states[batch, latest], given[batch, latest]),
    ):
        parts += [values * flag, flag]
    parts.append(prefix[:, None].to(x.dtype) / x.shape[1])
    return torch.cat(parts, dim=1)
