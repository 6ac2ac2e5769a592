"""Pictures with labels: generated ones, and real digits coloured to be compared with."""

from dataclasses import dataclass

import torch
from jaxtyping import Int, UInt8
from torch import Tensor

from dcfm.seeds import hashed
from dcfm_images.colours import colourise
from dcfm_images.digits import Digits
from dcfm_images.features import as_bytes


@dataclass(frozen=True, eq=False)
class Pictures:
    """Pictures, the combination that each was asked for, and where it comes from.

    Attributes:
        images: red, green and blue, 0 to 255.
        labels: digit and colour.
        origins: equal for pictures of one real digit, which are no independent samples; all different else.
    """

    images: UInt8[Tensor, "n 3 height width"]
    labels: Int[Tensor, "n 2"]
    origins: Int[Tensor, " n"]

    def __len__(self) -> int:
        return len(self.labels)


def colour_digits(digits: Digits, combinations: Int[Tensor, "m 2"], each: int, *, seed: int) -> Pictures:
    """Real digits in the colours of some combinations, ``each`` different digits for every combination.

    A digit may occur in several combinations, in another colour each time.

    Args:
        digits: grey, of the pictures' size.
        combinations: digit and colour.
        each: pictures of a combination.
        seed: of the choice of digits, made for each combination apart.

    Raises:
        ValueError: too few digits of a class.
    """
    check_each(digits, combinations, each)
    rows, labels = [], []
    for digit, colour in combinations.tolist():
        generator = torch.Generator().manual_seed(hashed(seed, digit, colour))
        own = (digits.labels == digit).nonzero()[:, 0]
        rows.append(own[torch.randperm(len(own), generator=generator)[:each]])
        labels.append(torch.tensor([[digit, colour]]).expand(each, 2))
    chosen, label = torch.cat(rows), torch.cat(labels)
    return Pictures(as_bytes(colourise(digits.images[chosen], label[:, 1])), label, chosen)


def check_each(digits: Digits, combinations: Int[Tensor, "m 2"], each: int, key: str = "each") -> None:
    """Raise ``ValueError`` unless there are ``each`` digits of every class that the combinations have; ``key`` is the
    setting's name."""
    classes = combinations[:, 0].unique()
    counts = torch.bincount(digits.labels, minlength=int(classes.max()) + 1)[classes]
    rarest = int(counts.argmin())
    if not 1 <= each <= counts[rarest]:
        most, digit = int(counts[rarest]), int(classes[rarest])
        remedy = f"give 1 to {most}, or more digits" if most else "give more digits"
        raise ValueError(
            f"{key}={each} pictures of a combination, and {most} real digits {digit} to compare them with; {remedy}"
        )
