"""Who asks: what a request may do, in whose name, and how much of it."""

from collections.abc import Callable
from dataclasses import dataclass

from app.keys import Scope
from app.rates import Bucket

EVERYTHING = frozenset(Scope)


@dataclass(eq=False)
class Caller:
    """Whoever sent a request, as the door has let them in."""

    actor: str | None = None
    """The id of the key; None when the server is open, and each door says its own name."""
    scopes: frozenset[Scope] = EVERYTHING
    cost: Bucket | None = None
    """What GraphQL operations are paid from; None when nobody counts."""
    retry_after: int | None = None
    """In how many seconds an operation may be sent again that cost too much just now."""

    begin: Callable[[], None] = lambda: None
    """For who stays connected: another operation begins. Raises `Refused` when it may not."""
    go_on: Callable[[], None] = lambda: None
    """For who is told what happens: another answer comes. Raises `Refused` once the key is over."""

    def named(self, door: str) -> str:
        """What the ledger notes as the actor of what came through a door."""
        return self.actor or door


ANYBODY = Caller()
"""Who works on a ledger without asking a server."""
