"""What a private training cost: ``(epsilon, delta)`` of all its steps, by Opacus' accountant.

Each step is a Gaussian mechanism on a Poisson sample; their composition is accounted for in Renyi divergence (Mironov
2017; Mironov, Talwar & Zhang 2019), an upper bound. Neighbouring data sets differ by one sample, added or removed.
Silos hold different samples, so a sample's epsilon is that of its own silo.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from dcfm.privacy.settings import PrivacyConfig

ORDERS: Final = [1 + x / 20 for x in range(1, 200)] + [float(x) for x in range(11, 64)] + [2.0**x for x in range(6, 11)]
"""Renyi orders among which the tightest bound is sought."""


@dataclass(frozen=True)
class Spent:
    """A silo's training and what it cost.

    Attributes:
        epsilon, delta: of adding or removing one sample; of this training and of those on the same samples before it,
            which its network started from.
        noise_multiplier: of the noise; this and what follows of this training alone.
        rate: probability that a sample takes part in a step.
        steps: optimizer steps; in federated averaging, of all rounds.
        secret: whether samples and noise were drawn by a secret generator; if not, nothing is protected from those who
            know the run's seed.
    """

    epsilon: float
    delta: float
    noise_multiplier: float
    rate: float
    steps: int
    secret: bool = True


def sampling_rate(batch: int, samples: int) -> float:
    """``q = batch / samples``.

    Raises:
        ValueError: the batch is larger than the data.
    """
    if not 0 < batch <= samples:
        raise ValueError(f"batches of {batch} from {samples} samples; a private training needs batch <= samples")
    return batch / samples


def check_sizes(privacy: PrivacyConfig | None, batch: int, samples: Mapping[str, int]) -> None:
    """Raise ``ValueError``, before any silo trains, if one has too few ``samples`` for private batches, or so many that
    ``delta`` protects nothing: publishing one sample in ``n`` whole has a ``delta`` of ``1/n``."""
    if privacy is not None:
        for silo, number in samples.items():
            try:
                sampling_rate(batch, number)
            except ValueError as error:
                raise ValueError(f"silo {silo!r}: {error}") from error
            if privacy.delta >= 1 / number:
                raise ValueError(
                    f"silo {silo!r}: delta={privacy.delta:g} is no protection of {number} samples; give one well below "
                    f"1/{number} = {1 / number:.2g}"
                )


def spent(
    privacy: PrivacyConfig, samples: int, batch: int, steps: int, earlier: Sequence[tuple[float, float, int]] = ()
) -> Spent:
    """What ``steps`` steps with batches of ``batch`` samples, on average, cost a silo of ``samples`` samples, included
    what it spent ``earlier`` on the same network, see :func:`epsilon`."""
    own = (privacy.noise_multiplier, sampling_rate(batch, samples), steps)
    return Spent(epsilon([*earlier, own], privacy.delta), privacy.delta, *own, secret=privacy.secret)


def epsilon(parts: Sequence[tuple[float, float, int]], delta: float) -> float:
    """Of trainings in a row on the same samples, each (noise multiplier, sampling rate, steps)."""
    from opacus.accountants import RDPAccountant  # takes seconds to import

    accountant = RDPAccountant()
    accountant.history = [tuple(part) for part in parts]
    return max(0.0, float(accountant.get_epsilon(delta, alphas=ORDERS)))  # the bound may lie below what can be
