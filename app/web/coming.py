"""Something that is waited for, and may be there already: then nobody need watch the time."""

from collections.abc import Awaitable, Generator
from typing import Any, Generic, TypeVar

T = TypeVar("T")


class Coming(Generic[T]):
    """An awaitable begun at once, and gone on with when it is awaited."""

    def __init__(self, awaitable: Awaitable[T]) -> None:
        self._steps = awaitable.__await__()
        self.is_there = False
        """Whether it came to its end without waiting for anything."""
        try:
            self._waits_for = next(self._steps)
        except StopIteration as end:
            self.is_there = True
            self.result: T = end.value
            """What came, if it is there."""

    def __await__(self) -> Generator[Any, Any, T]:
        if self.is_there:
            return self.result
        try:
            yield self._waits_for
        except BaseException as error:  # it is told, as whoever waits always is
            try:
                self._steps.throw(error)
            except StopIteration as end:
                result: T = end.value
                return result
            raise
        return (yield from self._steps)
