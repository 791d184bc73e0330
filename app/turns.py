"""Whose turn it is to write a ledger, and what is kept at the end of it.

A ledger in files is written by one process, so its turn is always. There the log is written first
and the views after it: what the log has is answered, and views that could not keep it are folded
again.
"""

from collections.abc import Sequence
from contextlib import suppress

from app.identities import Identities
from app.store import KeyRow, Pending, Store, TakenError
from projections.engine import Engine


class Turns:
    """The turns of one writer: each begins, and then is kept or undone."""

    def __init__(self, store: Store, engine: Engine) -> None:
        self._store = store
        self._engine = engine
        self._unsure = False
        self.written_all_the_same = False
        """Whether the last turn is in the ledger although it failed."""
        self._look()

    def _look(self) -> None:
        """See how far the log goes, and when its newest event was recorded."""
        self.head = self._store.head()[0]
        newest = self._store.at(self.head)
        self.last_us = newest.envelope.recorded_at_us if newest else 0
        self._unsure = False

    def begin(self) -> None:
        """Have the ledger for oneself, and the views as they are at its head."""
        self.written_all_the_same = False
        if self._unsure:
            self._look()
        if self._engine.database.writing.checkpoint() < self.head:
            self._engine.forget()  # they could not be kept the last time
            self._engine.catch_up(self._store.read)
        self._engine.database.begin()

    def identify(self, identities: Identities) -> None:
        """Let these identities, of those that will be kept, be on their way where that is quicker.

        No question is asked of the views between this and folding the usage that they are of.
        """

    def keep(
        self,
        pending: Sequence[Pending],
        identities: Identities,
        keys: Sequence[KeyRow],
        now_us: int,
    ) -> None:
        """Write what was decided; return once it is on disk, and every query sees it.

        Raises `TakenError`.
        """
        if pending or keys:
            self._store.append(pending, identities, keys)
        self.head += len(pending)
        self.last_us = now_us
        self._keep_views()

    def undo(self, error: BaseException) -> BaseException:
        """Leave everything as it was: deciding or writing failed; what to say of that."""
        self._engine.database.rollback()
        self._engine.forget()
        if not isinstance(error, TakenError):
            self._look_again()
        return error

    def _look_again(self) -> None:
        """After an error nobody knows what was written, but for the ledger itself."""
        before, self._unsure = self.head, True
        with suppress(Exception):  # it cannot be read either; the next write looks first
            self._look()
        if self.head > before:
            self.written_all_the_same = True
            with suppress(Exception):  # the next write folds it
                self._engine.catch_up(self._store.read)

    def _keep_views(self) -> None:
        """The ledger has it; views that cannot keep it now are folded again from the ledger."""
        try:
            self._engine.database.commit()
        except Exception:  # noqa: BLE001  # whatever it was, the ledger makes the views again
            self._engine.database.rollback()
            self._engine.forget()
            with suppress(Exception):  # what is in the ledger is answered; the next write folds it
                self._engine.catch_up(self._store.read)
