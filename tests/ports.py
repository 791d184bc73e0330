"""Ports for servers that tests start, which nobody else takes before they listen there."""

import os
import socket
from contextlib import suppress
from itertools import count

_FIRST = 20_000
_COUNT = 12_000
"""Below those that systems lend to connections: one of these would be gone at any moment."""
_APART = 1_009
"""Processes that begin one after the other try ports that lie apart."""

_tried = count(os.getpid() * _APART)


def free_port() -> int:
    """A port on which nobody listens just now; this process is never given it again."""
    for number in _tried:
        port = _FIRST + number % _COUNT
        with socket.socket() as probe, suppress(OSError):
            probe.bind(("127.0.0.1", port))
            return port
    raise AssertionError("it counts for ever")
