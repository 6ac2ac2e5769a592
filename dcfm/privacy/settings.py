"""How a training is made differentially private; the settings alone, which every trainer's configuration may hold."""

import importlib.util
import math
from dataclasses import dataclass


@dataclass(frozen=True)
class PrivacyConfig:
    """DP-SGD (Abadi et al. 2016), see :mod:`dcfm.privacy.gradients`.

    Args:
        noise_multiplier: ``sigma``: the noise's standard deviation in units of ``max_grad_norm``.
        max_grad_norm: ``C``, the largest norm of one sample's gradient; longer ones are shortened to it.
        delta: of the ``(epsilon, delta)`` that is reported; well below one over a silo's number of samples.
        secret: draw samples and noise by a generator whose state is the operating system's entropy, see
            :mod:`dcfm.privacy.entropy`. ``False`` draws them from the run's seed, for experiments and tests: whoever
            knows the seed can take the noise off again, so nothing is protected.

    Raises:
        ValueError: a value out of range, or the accountant is not installed.
    """

    noise_multiplier: float
    max_grad_norm: float = 1.0
    delta: float = 1e-5
    secret: bool = True

    def __post_init__(self) -> None:
        limits = self.noise_multiplier, self.max_grad_norm
        if not (all(0 < limit < math.inf for limit in limits) and 0 < self.delta < 1):
            raise ValueError(
                f"noise_multiplier={self.noise_multiplier} and max_grad_norm={self.max_grad_norm} must be positive "
                f"numbers, delta={self.delta} between 0 and 1"
            )
        if importlib.util.find_spec("opacus") is None:
            raise ValueError(
                "the accountant of differential privacy is missing; install it: pip install 'dcfm[privacy]'"
            )
