"""Stands between gallery and S3, and lets it be slow, refusing, silent or unreachable."""

from __future__ import annotations

import contextlib
import socket
import threading
import time

_SAYS = {
    "503": b"<Error><Code>SlowDown</Code><Message>Please reduce your request rate.</Message></Error>",
    "403": b"<Error><Code>AccessDenied</Code><Message>Access Denied</Message></Error>",
}


class Proxy:
    """A proxy of a port of this machine. mode: "" lets all through; "slow" each block 0.2 s late; "503" and "403"
    answer so; "silent" answers nothing."""

    def __init__(self, port: int) -> None:
        self._target = port
        self.mode = ""
        self._open: set[socket.socket] = set()
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = self._listener.getsockname()[1]
        self.url = f"http://127.0.0.1:{self.port}"
        threading.Thread(target=self._accept, args=(self._listener,), daemon=True).start()

    def stop(self) -> None:
        """Stop listening, and break all connections."""
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        self.cut()

    def cut(self) -> None:
        """Break all connections."""
        for end in list(self._open):
            with contextlib.suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)

    def restore(self) -> None:
        """Listen again, and pass all requests on."""
        self.mode = ""
        if self._listener.fileno() < 0:
            self._listener = socket.create_server(("127.0.0.1", self.port))
            threading.Thread(target=self._accept, args=(self._listener,), daemon=True).start()

    def _accept(self, listener: socket.socket) -> None:
        with contextlib.suppress(OSError):
            while True:
                client = listener.accept()[0]
                threading.Thread(target=self._serve, args=(client,), daemon=True).start()

    def _serve(self, client: socket.socket) -> None:
        with contextlib.suppress(OSError), client, socket.create_connection(("127.0.0.1", self._target)) as server:
            ends = {client, server}
            self._open |= ends
            threading.Thread(target=self._send_responses, args=(server, client), daemon=True).start()
            try:
                while block := client.recv(1 << 16):
                    if self.mode in _SAYS:
                        self._refuse(client, self.mode)
                        return
                    self._wait()
                    server.sendall(block)
            finally:
                self._open -= ends

    def _send_responses(self, server: socket.socket, client: socket.socket) -> None:
        with contextlib.suppress(OSError):
            while block := server.recv(1 << 16):
                self._wait()
                client.sendall(block)
            client.shutdown(socket.SHUT_RDWR)

    def _wait(self) -> None:
        if self.mode == "slow":
            time.sleep(0.2)
        while self.mode == "silent":
            time.sleep(0.05)

    @staticmethod
    def _refuse(client: socket.socket, mode: str) -> None:
        head = f"HTTP/1.1 {mode} X\r\nContent-Type: application/xml\r\nConnection: close\r\n"
        client.sendall(f"{head}Content-Length: {len(_SAYS[mode])}\r\n\r\n".encode() + _SAYS[mode])
        client.shutdown(socket.SHUT_WR)
        client.settimeout(5)
        while client.recv(1 << 16):  # the rest of its body
            pass
