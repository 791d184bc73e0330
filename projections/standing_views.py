"""Views that somebody else keeps, for whoever only asks them, and goes on asking.

Whoever keeps them may put rebuilt ones in their place, fold them anew from the beginning, or be a
later program by now, with views of its own: none of it may be noticed by a wrong answer.
"""

import threading
from collections.abc import Iterator
from contextlib import contextmanager

from projections import engine, views_at
from projections.places import Unreachable, Where
from projections.tables import Views, ViewsDatabase


class StandingViews:
    """The views at a path or in a schema, whichever stand there when they are asked.

    Raises `Unreachable` where there are none of this version.
    """

    def __init__(self, at: Where) -> None:
        self._at = at
        self._lock = threading.Lock()
        self._seen = 0
        """The last position that anybody here was shown."""
        self._mark, self._database = self._opened()

    def close(self) -> None:
        """Close every connection; snapshots still open close as they end."""
        self._database.close()

    @contextmanager
    def snapshot(self) -> Iterator[Views]:
        """The views of one moment, never of an earlier one than were shown before.

        Raises `Unreachable` while there are none of this version, or none as far as that.
        """
        shown = self._seen  # before it begins: others may see something later meanwhile
        with self._standing().snapshot() as views:
            position = views.checkpoint()
            if position < shown:
                raise Unreachable(f"the views in {self._at} are at {position}, and were at {shown}")
            with self._lock:
                self._seen = max(self._seen, position)
            yield views

    def _standing(self) -> ViewsDatabase:
        """The database that stands there now; another one than before is opened first."""
        with self._lock:
            if self._found() != self._mark:
                before = self._database
                self._mark, self._database = self._opened()
                before.close()
            return self._database

    def _found(self) -> object:
        """What tells the views that stand there from others."""
        try:
            return views_at.mark_of(self._at)
        except FileNotFoundError as error:
            raise Unreachable(f"there are no views in {self._at}") from error

    def _opened(self) -> tuple[object, ViewsDatabase]:
        mark = self._found()  # before they are opened: others that come meanwhile have another
        try:
            return mark, engine.of_same_version(self._at)
        except ValueError as error:
            raise Unreachable(f"the views in {self._at} cannot be asked: {error}") from error
