"""Flower's SuperNode, which ends when it has given up its SuperLink: ``python -m dcfm.federated.supernode``.

``flower-supernode`` itself does not. When its connection fails in a way that it does not try again (a proxy that closes
the connection because the SuperLink behind it is down, for one), its main function returns or raises, yet the thread of
its HTTP server keeps the process alive, idle, and nobody starts it again.
"""

import os
import sys
import traceback
from typing import NoReturn

from flwr.supernode.cli import flower_supernode


def main() -> NoReturn:
    """Run with the arguments of ``flower-supernode``, then end the process, threads or not.

    It ends with the status that Flower gives, and with 1 where Flower gives none: a SuperNode has no reason to stop.
    """
    status = 1
    try:
        flower_supernode()
    except SystemExit as end:  # of Flower's own, its handlers have run
        status = end.code if isinstance(end.code, int) else 1
    except BaseException:
        traceback.print_exc()
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(status)


if __name__ == "__main__":
    main()
