"""What stands between a program and its server, and may cut them off at the worst moment."""

import socket
import threading
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress

COMMIT = b"COMMIT"


class Line:
    """Hands on what both say; told to, it cuts the connection around the next COMMIT.

    Cut before, the server never hears of it; cut after, it has committed, and nobody is told. New
    connections may be refused.
    """

    def __init__(self, server_port: int) -> None:
        self._server_port = server_port
        self._listening = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listening.getsockname()[1]
        self.cut_before = False
        self.cut_after = False
        self.refuses = False
        self.cuts = 0
        threading.Thread(target=self._accept, daemon=True).start()

    def close(self) -> None:
        """Take no more connections."""
        self._listening.close()

    def _accept(self) -> None:
        with suppress(OSError):
            while True:
                client, _ = self._listening.accept()
                if self.refuses:
                    client.close()
                    continue
                threading.Thread(target=self._serve, args=(client,), daemon=True).start()

    def _serve(self, client: socket.socket) -> None:
        with closing(client), suppress(OSError):
            server = socket.create_connection(("127.0.0.1", self._server_port))
            answers = threading.Thread(target=_hand_on, args=(server, client), daemon=True)
            answers.start()
            with closing(server):
                try:
                    while said := client.recv(65_536):
                        if COMMIT in said and (self.cut_before or self.cut_after):
                            self._cut(said, server, client)
                            answers.join()
                            return
                        server.sendall(said)
                finally:  # also when the client was killed: the server must hear of its end
                    server.shutdown(socket.SHUT_RDWR)

    def _cut(self, said: bytes, server: socket.socket, client: socket.socket) -> None:
        """Nothing more reaches the client; the server hears the last of it, or not even that."""
        heard, self.cut_before, self.cut_after = self.cut_after, False, False
        self.cuts += 1
        client.shutdown(socket.SHUT_RDWR)
        if heard:
            server.sendall(said)
        else:
            server.shutdown(socket.SHUT_RDWR)


def _hand_on(server: socket.socket, client: socket.socket) -> None:
    with suppress(OSError):
        while said := server.recv(65_536):
            client.sendall(said)
    with suppress(OSError):  # also when the server has ended without a word
        client.shutdown(socket.SHUT_RDWR)


@contextmanager
def line(server_port: int) -> Iterator[Line]:
    """A line to a server for as long as the block lasts."""
    with closing(Line(server_port)) as opened:
        yield opened
