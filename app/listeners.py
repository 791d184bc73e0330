"""Who wants to know that something was written to a ledger, whoever has written it."""

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass


@dataclass(frozen=True, slots=True, eq=False)
class Listener:
    """Somebody who wants to know that something was written, and whether usage counts."""

    told: Callable[[], object]
    usage: bool


class Listeners:
    """All who listen to one ledger."""

    def __init__(self) -> None:
        self._changing = threading.Lock()
        self._listeners: tuple[Listener, ...] = ()

    @property
    def heard(self) -> bool:
        """Whether anybody listens."""
        return bool(self._listeners)

    @contextmanager
    def listening(self, told: Callable[[], object], *, usage: bool = False) -> Iterator[None]:
        """For as long as the block lasts, be told of each transaction once it is written.

        Of those that wrote nothing but usage only if asked to: they are many. It is told in the
        thread of whoever noticed, so it must do no more than wake somebody.
        """
        listener = Listener(told, usage)
        with self._changing:
            self._listeners = (*self._listeners, listener)
        try:
            yield
        finally:
            with self._changing:
                self._listeners = tuple(one for one in self._listeners if one is not listener)

    def tell(self, *, usage_only: bool) -> None:
        """Tell whoever listens that something was written, here or by another process."""
        for listener in self._listeners:
            if listener.usage or not usage_only:
                with suppress(RuntimeError):  # its event loop is closed: nobody listens any more
                    listener.told()
