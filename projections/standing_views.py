"""Views that somebody else keeps, for whoever only asks them, and goes on asking.

Whoever keeps them may put rebuilt ones in their place, or throw them away because a later program
looks after them now: neither may be noticed by a wrong answer.
"""

import threading
from collections.abc import Iterator
from contextlib import contextmanager

from projections import engine, views_at
from projections.places import Unreachable, Where
from projections.tables import Views, ViewsDatabase


class StandingViews:
    """The views at a path or in a schema, whichever stand there when they are asked."""

    def __init__(self, at: Where) -> None:
        self._at = at
        self._stamp = engine.stamp()
        self._lock = threading.Lock()
        self._mark = views_at.mark_of(at)
        self._database = engine.of_same_version(at)

    def close(self) -> None:
        """Close every connection; snapshots still open close as they end."""
        self._database.close()

    @contextmanager
    def snapshot(self) -> Iterator[Views]:
        """The views of one moment. Raises `Unreachable` while there are none of this version."""
        with self._standing().snapshot() as views:
            if views.meta("stamp") != self._stamp:
                raise _of_another_version(self._at)
            yield views

    def _standing(self) -> ViewsDatabase:
        """The database that stands there now; another one than before is opened first."""
        with self._lock:
            try:
                mark = views_at.mark_of(self._at)
                if mark != self._mark:
                    found = engine.of_same_version(self._at)
                    self._mark, (before, self._database) = mark, (self._database, found)
                    before.close()
            except FileNotFoundError as error:
                raise Unreachable(f"there are no views in {self._at}") from error
            except ValueError as error:
                raise _of_another_version(self._at) from error
            return self._database


def _of_another_version(at: Where) -> Unreachable:
    return Unreachable(f"the views in {at} are of another version than this program")
