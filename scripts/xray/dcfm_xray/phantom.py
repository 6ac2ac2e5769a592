"""A procedural chest phantom: a radiograph-like picture in which each of the 14 findings is its own visual change.

Nobody's body: thorax, lungs, heart, diaphragm, ribs and spine are smooth shapes whose sizes vary from patient to
patient; noise and exposure vary from image to image. Findings are drawn on top, each where and how radiology describes
it, simplified: what matters here is that each can be seen, that each varies, and that several can be present at once.

Coordinates: ``x`` to the right and ``y`` downwards over the picture, both from -1 to 1; the patient's left is on the
right, as on a frontal film. Brightness 0 is black (air), 1 white (bone). All images of a patient share the anatomy, so
patients can be told apart: a split by patients means something here.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

import torch
from jaxtyping import Float, Int, UInt8
from torch import Tensor

from dcfm_xray.findings import FINDINGS

Image = Float[Tensor, "batch size size"]
Column = Float[Tensor, "batch 1 1"]


@dataclass(frozen=True)
class Anatomy:
    """What differs between patients; every entry one number a picture, in picture coordinates."""

    tilt: Column
    thorax: Column
    lung_width: Column
    lung_height: Column
    lung_top: Column
    heart_width: Column
    heart_height: Column
    diaphragm: Column
    ribs: Column
    tissue: Column


DRAWING: Final = 1
"""Counts how phantoms are drawn: one more with every change, so that caches of earlier ones are not taken for it."""


class Draws:
    """Numbers in [0, 1), a row a picture, taken column by column; each column may be taken once."""

    def __init__(self, numbers: Float[Tensor, "batch columns"]) -> None:
        self._numbers = numbers
        self._next = 0

    def between(self, low: float, high: float) -> Column:
        """The next number of every picture, uniform between two bounds."""
        value = self._numbers[:, self._next]
        self._next += 1
        return (low + (high - low) * value)[:, None, None]

    def side(self) -> Column:
        """-1 (the patient's right) or 1."""
        return self.between(-1.0, 1.0).sign()


def seeded(seeds: Int[Tensor, " batch"], *shape: int) -> Float[Tensor, " batch *shape"]:
    """Uniform numbers; each row depends on its own seed alone, whatever the batch."""
    rows = [torch.rand(*shape, generator=torch.Generator().manual_seed(int(seed))) for seed in seeds]
    return torch.stack(rows) if rows else torch.empty(0, *shape)


def draw_anatomy(patients: Int[Tensor, " batch"]) -> Anatomy:
    """The anatomy of each patient; the same number gives the same anatomy."""
    draw = Draws(seeded(patients, 10))
    return Anatomy(
        tilt=draw.between(-0.05, 0.05),
        thorax=draw.between(0.84, 0.96),
        lung_width=draw.between(0.29, 0.35),
        lung_height=draw.between(0.60, 0.72),
        lung_top=draw.between(-0.80, -0.70),
        heart_width=draw.between(0.21, 0.26),
        heart_height=draw.between(0.26, 0.32),
        diaphragm=draw.between(0.46, 0.56),
        ribs=draw.between(6.5, 8.5),
        tissue=draw.between(0.50, 0.60),
    )


class _Canvas:
    """A batch of pictures being drawn: the grid, the anatomy, and where the lungs are.

    Args:
        anatomy: of each picture's patient.
        size: pixels a side.
        air: 1 where emphysema enlarges the lungs and flattens the domes, else 0.
    """

    def __init__(self, anatomy: Anatomy, size: int, air: Column) -> None:
        line = (torch.arange(size) + 0.5) / size * 2 - 1
        self.edge = 1.5 / size
        self.y = line[None, :, None].expand(len(air), size, size)
        self.x = line[None, None, :] + anatomy.tilt * self.y
        self.anatomy = anatomy
        self.dome = anatomy.diaphragm + 0.12 * air
        lungs = []
        for side in (-1.0, 1.0):
            across = (self.x - side * (0.40 + 0.02 * air)) / (anatomy.lung_width + 0.05 * air)
            middle = anatomy.lung_top + anatomy.lung_height
            upper = self.soft(1 - (across**2 + ((self.y - middle) / anatomy.lung_height).clamp(max=0) ** 2))
            curve = self.dome - 0.14 * (1 - 0.85 * air) * (1 - across**2).clamp(min=0)
            lungs.append(upper * self.soft((curve - self.y) * 4 + 0.03 * side))
        self.lungs = lungs
        self.lung = lungs[0] + lungs[1]

    def rows(self, which: Int[Tensor, " some"]) -> "_Canvas":
        """The canvas of some of the pictures."""
        part = object.__new__(_Canvas)
        part.edge = self.edge
        part.anatomy = Anatomy(**{name: value[which] for name, value in vars(self.anatomy).items()})
        part.x, part.y, part.dome, part.lung = self.x[which], self.y[which], self.dome[which], self.lung[which]
        part.lungs = [lung[which] for lung in self.lungs]
        return part

    def soft(self, inside: Image) -> Image:
        """From a signed measure, positive inside, to a mask with an edge as soft as a pixel allows."""
        return torch.sigmoid(inside / (3 * self.edge))

    def disc(self, x: Column, y: Column, rx: Column, ry: Column | None = None) -> Image:
        """A soft-edged ellipse."""
        r2 = ((self.x - x) / rx) ** 2 + ((self.y - y) / (rx if ry is None else ry)) ** 2
        return self.soft((1 - r2) * 0.5)

    def blur(self, x: Column, y: Column, rx: Column, ry: Column) -> Image:
        """A Gaussian spot."""
        return torch.exp(-0.5 * (((self.x - x) / rx) ** 2 + ((self.y - y) / ry) ** 2))

    def lung_on(self, side: Column) -> Image:
        """The lung of the side, -1 or 1, of each picture."""
        return torch.where(side < 0, self.lungs[0], self.lungs[1])


def _body(c: _Canvas) -> Image:
    a = c.anatomy
    middle, full = torch.zeros_like(a.thorax), torch.ones_like(a.thorax)
    thorax = c.disc(middle, 0.15 * full, a.thorax, a.thorax + 0.25)
    shoulders = c.blur(middle, -1.05 * full, a.thorax, 0.22 * full)
    picture = 0.04 + a.tissue * thorax + 0.10 * shoulders
    picture = picture * (1 - 0.72 * c.lung)
    picture = picture + 0.10 * c.blur(middle, -0.08 * full, 0.30 * full, 0.25 * full) * c.lung  # vessels of the hila
    ribs = torch.cos(a.ribs * torch.pi * (c.y + 0.35 * c.x**2)).clamp(min=0) ** 3
    picture = picture + 0.07 * ribs * thorax * (c.x.abs() > 0.1)
    spine = torch.exp(-0.5 * (c.x / 0.07) ** 2)
    return picture + 0.16 * spine * thorax


def _heart(c: _Canvas, picture: Image, draw: Draws, big: Column) -> Image:
    a = c.anatomy
    width = a.heart_width * (1 + big * draw.between(0.45, 0.75))
    bottom = c.dome - 0.05
    heart = c.disc(0.10 + 0.06 * big, bottom - a.heart_height * 0.85, width, a.heart_height * (1 + 0.15 * big))
    return torch.maximum(picture, 0.66 * heart)


Finding = Callable[[_Canvas, Image, Draws], Image]


def _atelectasis(c: _Canvas, picture: Image, draw: Draws) -> Image:
    side, y = draw.side(), draw.between(0.18, 0.36)
    slope, width = draw.between(0.15, 0.45), draw.between(0.020, 0.032)
    above = c.y - y + side * slope * (c.x - side * 0.4)
    plates = torch.exp(-0.5 * (above / width) ** 2) + torch.exp(-0.5 * ((above - 0.10) / width) ** 2)
    return picture + draw.between(0.32, 0.42) * plates.clamp(max=1) * c.lung_on(side)


def _consolidation(c: _Canvas, picture: Image, draw: Draws) -> Image:
    side, top = draw.side(), draw.between(-0.02, 0.14)
    lobe = c.soft((c.y - top - 0.25 * side * (c.x - side * 0.4)) * 2) * c.lung_on(side)
    # Air bronchograms: dark branches in the white lobe.
    branches = torch.cos(38 * (c.x + 0.6 * side * c.y) + draw.between(0.0, 6.28)).clamp(min=0) ** 6
    return torch.maximum(picture, lobe * (0.62 - 0.22 * branches))


def _edema(c: _Canvas, picture: Image, draw: Draws) -> Image:
    strength, reach = draw.between(0.26, 0.36), draw.between(0.13, 0.18)
    left = c.blur(-draw.between(0.26, 0.30), draw.between(-0.12, 0.0), reach, reach * 1.7)
    right = c.blur(draw.between(0.26, 0.30), draw.between(-0.12, 0.0), reach, reach * 1.7)
    return picture + strength * (left + right) * c.lung


def _effusion(c: _Canvas, picture: Image, draw: Draws) -> Image:
    side, level = draw.side(), draw.between(0.10, 0.26)
    # A meniscus: the fluid climbs along the outer wall.
    surface = c.dome - level - 0.45 * ((side * c.x - 0.40) / 0.3).clamp(min=-0.2) ** 2
    space = c.soft((c.x * side - 0.06) * 2) * c.soft((0.40 + c.anatomy.lung_width - side * c.x) * 2)
    return torch.maximum(picture, 0.74 * space * c.soft((c.y - surface) * 2) * c.soft((0.85 - c.y) * 2))


def _emphysema(c: _Canvas, picture: Image, draw: Draws) -> Image:
    # Larger lungs and flat domes are drawn with the canvas; here the lungs darken.
    return picture * (1 - draw.between(0.45, 0.6) * c.lung)


def _fibrosis(c: _Canvas, picture: Image, draw: Draws) -> Image:
    # A net of crossing bands, wide enough to be seen at 64 pixels.
    phase, pitch = draw.between(0.0, 6.28), draw.between(9.0, 11.0)
    falling, rising = torch.cos(pitch * (c.x + c.y) + phase), torch.cos(pitch * (c.x - c.y) - phase)
    net = torch.exp(-4 * torch.minimum(falling**2, rising**2))
    bases = torch.sigmoid((c.y - 0.0) / 0.09)
    return picture + draw.between(0.34, 0.42) * net * bases * c.lung


def _hernia(c: _Canvas, picture: Image, draw: Draws) -> Image:
    x, y, r = draw.between(-0.06, 0.06), c.dome - draw.between(0.10, 0.16), draw.between(0.11, 0.14)
    pouch, wall = c.disc(x, y, r * 0.78), c.disc(x, y, r)
    level = c.soft((c.y - y - 0.01) * 2)
    return torch.maximum(picture * (1 - 0.9 * pouch), 0.92 * (wall - pouch).clamp(min=0)) + 0.45 * pouch * level


def _infiltration(c: _Canvas, picture: Image, draw: Draws) -> Image:
    side, strength = draw.side(), draw.between(0.14, 0.20)
    patches = torch.zeros_like(picture)
    for _ in range(6):
        x, y = side * draw.between(0.26, 0.54), draw.between(-0.25, 0.30)
        patches = patches + c.blur(x, y, draw.between(0.05, 0.09), draw.between(0.05, 0.09))
    return picture + strength * patches.clamp(max=2) * c.lung_on(side)


# The picture is some 35 cm wide: nodules are 2.3 to 3 cm across, the largest there are, and masses 4 to 5.6 cm.
def _mass(c: _Canvas, picture: Image, draw: Draws) -> Image:
    side, r = draw.side(), draw.between(0.115, 0.16)
    spot = c.disc(side * draw.between(0.32, 0.48), draw.between(-0.30, 0.22), r, r * draw.between(0.9, 1.1))
    return torch.maximum(picture, 0.76 * spot)


def _nodule(c: _Canvas, picture: Image, draw: Draws) -> Image:
    side = draw.side()
    spot = c.disc(side * draw.between(0.26, 0.54), draw.between(-0.40, 0.25), draw.between(0.065, 0.085))
    return torch.maximum(picture, 0.82 * spot)


def _pleural_thickening(c: _Canvas, picture: Image, draw: Draws) -> Image:
    side, width = draw.side(), draw.between(0.05, 0.07)
    outer = 0.40 + c.anatomy.lung_width - 0.02
    wall = torch.exp(-0.5 * ((side * c.x - outer + 0.25 * (c.y - 0.1) ** 2) / width) ** 2)
    along = torch.sigmoid((c.y + 0.30) / 0.05) * torch.sigmoid((c.dome - c.y) / 0.05)
    return torch.maximum(picture, 0.72 * wall * along)


def _pneumonia(c: _Canvas, picture: Image, draw: Draws) -> Image:
    side, x, y = draw.side(), draw.between(0.34, 0.44), draw.between(-0.48, -0.32)
    lobe = c.blur(side * x, y, draw.between(0.17, 0.22), draw.between(0.13, 0.17))
    return picture + draw.between(0.48, 0.58) * lobe * c.lung_on(side)


def _pneumothorax(c: _Canvas, picture: Image, draw: Draws) -> Image:
    side, gap = draw.side(), draw.between(0.13, 0.19)
    lung = c.lung_on(side)
    inner = 0.40 + c.anatomy.lung_width - gap - 0.30 * (c.y + 0.1).clamp(max=0) ** 2
    air = torch.sigmoid((side * c.x - inner) / 0.012) * lung
    line = torch.exp(-0.5 * ((side * c.x - inner) / 0.012) ** 2) * lung
    return picture * (1 - 0.95 * air) + 0.34 * line


DRAWN: Final[dict[str, Finding]] = {
    "Emphysema": _emphysema,
    "Edema": _edema,
    "Infiltration": _infiltration,
    "Fibrosis": _fibrosis,
    "Pneumonia": _pneumonia,
    "Atelectasis": _atelectasis,
    "Consolidation": _consolidation,
    "Pneumothorax": _pneumothorax,
    "Effusion": _effusion,
    "Pleural_Thickening": _pleural_thickening,
    "Mass": _mass,
    "Nodule": _nodule,
    "Hernia": _hernia,
}
"""Findings in the order in which they are drawn, diffuse ones first; Cardiomegaly is drawn with the heart."""

_NUMBERS: Final = 32
"""Draws of one finding in a picture: at least as many as any takes."""


def draw_phantoms(
    labels: Int[Tensor, "batch 14"], patients: Int[Tensor, " patients"], seeds: Int[Tensor, " seeds"], size: int
) -> UInt8[Tensor, "batch size size"]:
    """Draw pictures.

    Args:
        labels: findings present, 0 or 1, in the order of :data:`~dcfm_xray.findings.FINDINGS`.
        patients: numbers of patients; each has an anatomy of its own.
        seeds: of each picture's exposure, noise, and the sides, places and sizes of its findings.
        size: pixels a side.

    Raises:
        ValueError: fewer than 32 pixels, in which a nodule cannot be seen, or numbers that do not fit.
    """
    if size < 32 or not len(labels) == len(patients) == len(seeds):
        raise ValueError(
            f"size={size} pixels for {len(labels)} labels, {len(patients)} patients and {len(seeds)} seeds; give at "
            "least 32 pixels and one of each a picture"
        )
    if not len(labels):
        return torch.empty(0, size, size, dtype=torch.uint8)
    # Every finding has numbers of its own, so that one more finding leaves the others where they are.
    numbers = seeded(seeds, len(FINDINGS) + 1, _NUMBERS)
    has = {name: labels[:, i].float()[:, None, None] for i, name in enumerate(FINDINGS)}
    canvas = _Canvas(draw_anatomy(patients), size, has["Emphysema"])
    draw = Draws(numbers[:, -1])
    exposure, noise = draw.between(0.92, 1.08), draw.between(0.010, 0.022)
    picture = _heart(canvas, _body(canvas), draw, has["Cardiomegaly"])
    for name, add in DRAWN.items():
        rows = has[name].flatten().nonzero()[:, 0]
        if len(rows):
            picture[rows] = add(canvas.rows(rows), picture[rows], Draws(numbers[rows, FINDINGS.index(name)]))
    grain = torch.stack(
        [torch.randn(size, size, generator=torch.Generator().manual_seed(int(seed) + 1)) for seed in seeds]
    )
    picture = (picture * exposure + noise * grain).clamp(0, 1)
    return (picture * 255).round().to(torch.uint8)
