"""Seeds made of a run's seed: one seed makes a run.

No two trainings of a kind draw the same; of different kinds two may begin with the same numbers. The student uses them
for other things than Stage I; DCFM-A's first round has Stage I's batch, times and noise again in its first step, after
which its routing draws in between, and in all of them where its CI term has weight 0, which draws nothing.
"""

import numpy as np


def derived(seed: int, *numbers: int) -> int:
    """A seed of its own for each sequence of numbers, such as a round and a silo; 0 and a number give the number.

    Args:
        seed: any whole number; those that are equal modulo 2^63 are the same.
        numbers: below 1,000,003 each, or two sequences may meet.

    Returns:
        At least 0 and below 2^63, which every generator takes; those of the CPU look at its lowest 32 bits alone.
    """
    for number in numbers:
        seed = (seed * 1_000_003 + number) % 2**63
    return seed


def training_seed(seed: int, index: int, part: int = 0) -> int:
    """The seed of all that a training draws: batches, times, noise, routing.

    Trainings of other seeds, silos and rounds draw for themselves, up to 10,007 silos and 99 rounds.

    Args:
        seed: of the run.
        index: of the silo.
        part: see :class:`dcfm.jobs.TrainingJob`.
    """
    return derived(seed, part * 10_007 + index)


def hashed(seed: int, *numbers: int) -> int:
    """A seed of its own for each sequence of numbers of any size, such as the values of a label, by NumPy's mixing.

    Args:
        seed, numbers: at least 0; sequences that differ in zeros at their end alone are the same.
    """
    return int(np.random.SeedSequence([seed, *numbers]).generate_state(1, np.uint64)[0] >> 1)
