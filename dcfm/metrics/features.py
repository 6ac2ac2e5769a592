"""What all distances between sets of features ask of them."""

from jaxtyping import Float
from torch import Tensor


def check_finite(**sets: Float[Tensor, "_ _"]) -> None:
    """Raise ``ValueError`` where features are not finite: a distance would be NaN, or a number that hides them.

    Args:
        sets: by their names in the error.
    """
    for name, features in sets.items():
        if rows := int((~features.isfinite()).any(1).sum()):
            raise ValueError(
                f"{rows} of {len(features)} samples of {name} have features that are not finite; look for samples that "
                "are not, of a model whose training diverged or of a damaged file"
            )
