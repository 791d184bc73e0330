"""A batch by columns: what comes a thousand times in it is kept once.

A column says what each row has of one thing. It holds the different values in the order in which
they come, and which of them each row has; or simply the values, when most of them differ. The same
values always give the same column, so that equal batches are equal byte for byte.

What is read from a log may be anything: a column that says more or less than one value for each
row, or that would come to very much more than was stored, is refused when it is read.
"""

import struct
from collections.abc import Callable, Hashable, Sequence
from typing import Generic, TypeVar

import msgspec

T = TypeVar("T")
H = TypeVar("H", bound=Hashable)

_WIDTHS = {1: "B", 2: "H", 4: "I", 8: "Q"}
"""How many bytes a number may take, each with its letter for `struct`."""
_LONGEST = 65_536
"""No value that several rows share is longer, so that few bytes never stand for very many."""


class Column(msgspec.Struct, Generic[T], frozen=True, array_like=True):
    """What each row has: `each` by itself, or that of them which `places` says.

    One value without places is that of every row.
    """

    each: list[T]
    places: bytes = b""

    def spread(self, count: int) -> list[T]:
        """The value of every row."""
        if self.places:
            return list(map(self.each.__getitem__, unpacked(self.places, count)))
        return self.each if len(self.each) == count else self.each * count

    def at(self, row: int, count: int) -> T:
        """The value of one row."""
        if self.places:
            width = len(self.places) // count
            return self.each[int.from_bytes(self.places[row * width : (row + 1) * width], "little")]
        return self.each[row if len(self.each) == count else 0]

    def check(self, count: int, length: Callable[[T], int]) -> None:
        """See that there is a value for each row, and none too long. Raises `ValueError`."""
        kinds = len(self.each)
        if self.places:
            if max(unpacked(self.places, count)) >= kinds:
                raise ValueError("a row has a value that is not there")
        elif kinds != count and (kinds != 1 or not count):
            raise ValueError(f"{kinds} values for {count} rows")
        if (self.places or kinds != count) and max(map(length, self.each), default=0) > _LONGEST:
            raise ValueError("a value that several rows share is too long")


def column(values: Sequence[H]) -> Column[H]:
    """The column of these values.

    >>> column(["a", "b", "a", "a"])
    Column(each=['a', 'b'], places=b'\\x00\\x01\\x00\\x00')
    >>> column(["a", "a"]), column(["a", "b"])
    (Column(each=['a'], places=b''), Column(each=['a', 'b'], places=b''))
    """
    kinds = list(dict.fromkeys(values))
    if _mostly_differ(len(kinds), len(values)):
        return Column(list(values))
    if len(kinds) < 2:
        return Column(kinds)
    places = {kind: place for place, kind in enumerate(kinds)}
    return Column(kinds, packed(list(map(places.__getitem__, values))))


def placed(kinds: Sequence[T], places: Sequence[int]) -> Column[T]:
    """The same, of values that are numbered already in the order in which they come first."""
    if _mostly_differ(len(kinds), len(places)):
        return Column([kinds[place] for place in places])
    return Column(list(kinds), packed(places))


def _mostly_differ(kinds: int, count: int) -> bool:
    return kinds > 1 and 2 * kinds > count


def packed(numbers: Sequence[int]) -> bytes:
    """Numbers from 0 in the fewest bytes that do for all of them; none at all when all are 0.

    >>> packed([1, 2, 256]), packed([0, 0])
    (b'\\x01\\x00\\x02\\x00\\x00\\x01', b'')
    """
    most = max(numbers, default=0)
    if not most:
        return b""
    width = next(width for width in _WIDTHS if most < 1 << 8 * width)
    return struct.pack(f"<{len(numbers)}{_WIDTHS[width]}", *numbers)


def unpacked(data: bytes, count: int) -> Sequence[int]:
    """So many numbers from their bytes. Raises `ValueError` when they are not that many."""
    if not data:
        return [0] * count
    width = len(data) // count if count else 0
    if width * count != len(data) or width not in _WIDTHS:
        raise ValueError(f"{len(data)} bytes hold no {count} numbers")
    return data if width == 1 else struct.unpack(f"<{count}{_WIDTHS[width]}", data)
