"""A gateway between a SuperNode and the SuperLink, as hospitals have them."""

import contextlib
import socket
import threading

from dcfm.federated.processes import LOOPBACK


class Gateway:
    """Passes bytes between a SuperNode and the SuperLink and keeps count of those that leave the silo."""

    def __init__(self, port: int) -> None:
        self.port, self.sent = port, 0
        self.listener = socket.create_server((LOOPBACK, 0))
        threading.Thread(target=self._accept, daemon=True).start()

    @property
    def port_of_silo(self) -> int:
        return self.listener.getsockname()[1]

    def close(self) -> None:
        self.listener.close()

    def _accept(self) -> None:
        while True:
            try:
                inner, _ = self.listener.accept()
            except OSError:
                return
            threading.Thread(target=self._join, args=(inner,), daemon=True).start()

    def _join(self, inner: socket.socket) -> None:
        with inner, contextlib.suppress(OSError), socket.create_connection((LOOPBACK, self.port)) as outer:
            back = threading.Thread(target=self._pass, args=(outer, inner, False), daemon=True)
            back.start()
            self._pass(inner, outer, True)
            back.join()

    def _pass(self, source: socket.socket, target: socket.socket, counted: bool) -> None:
        with contextlib.suppress(OSError):
            while piece := source.recv(1 << 16):
                self.sent += len(piece) if counted else 0
                target.sendall(piece)
        with contextlib.suppress(OSError):
            target.shutdown(socket.SHUT_WR)
