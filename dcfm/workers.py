"""What processes that work for another one begin with."""

import multiprocessing
import os
import threading


def usable_cores() -> int:
    """Cores that this process may run on, which a scheduler may have limited to some of the machine's."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def begin_worker() -> None:
    """One thread, since there is a process a core, and an end when the parent ends: an initializer of a pool."""
    import torch  # not above: collecting does without

    torch.set_num_threads(1)
    end_with_parent()


def end_with_parent() -> None:
    """End this process as soon as the one that started it has ended, however that was.

    A pool's workers else notice that they are alone only when they ask for more work: a training whose script was
    killed would go on for hours.
    """
    parent = multiprocessing.parent_process()
    if parent is None:
        return

    def watch() -> None:
        parent.join()
        os._exit(1)

    threading.Thread(target=watch, name="end with parent", daemon=True).start()
