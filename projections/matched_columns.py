"""Matched usage records of one event name, column by column: how they are folded."""

from collections.abc import Iterable, Iterator, Sequence
from functools import cached_property
from itertools import compress
from typing import Any

from projections.usage_blocks import HOUR_US, Matched


class MatchedColumns:
    """Matched records; what one of them says stands at the same place in every column."""

    def __init__(
        self,
        customer_refs: Sequence[int],
        times_us: Sequence[int],
        positions: Sequence[int],
        rows: Sequence[int],
        values: Sequence[str | None],
        properties: Sequence[dict[str, str]],
    ) -> None:
        self.customer_refs = customer_refs
        self.times_us = times_us
        self.positions = positions
        self.rows = rows
        self.values = values
        self.properties = properties

    @classmethod
    def of(cls, records: Sequence[Matched]) -> "MatchedColumns":
        """The columns of these records."""
        return cls(
            [one.customer_ref for one in records],
            [one.timestamp_us for one in records],
            [one.position for one in records],
            [one.row for one in records],
            [one.value for one in records],
            [one.properties for one in records],
        )

    def __len__(self) -> int:
        return len(self.rows)

    @property
    def _columns(self) -> tuple[Sequence[Any], ...]:
        """The columns in the order of a record's fields."""
        return (
            self.customer_refs,
            self.times_us,
            self.positions,
            self.rows,
            self.values,
            self.properties,
        )

    @property
    def contents(self) -> Iterator[tuple[Any, ...]]:
        """What each record says, in the order of its fields."""
        return zip(*self._columns, strict=True)

    @cached_property
    def hours(self) -> list[int]:
        """The hour of each record, counted since 1970."""
        return [at_us // HOUR_US for at_us in self.times_us]

    @cached_property
    def records(self) -> list[Matched]:
        """The records one by one."""
        return list(map(Matched, *self._columns))

    def only(self, kept: Iterable[bool]) -> "MatchedColumns":
        """Some of the records."""
        chosen = list(kept)
        return MatchedColumns(*[list(compress(column, chosen)) for column in self._columns])

    def texts(self, name: str) -> Sequence[str | None]:
        """One property of each record; `value` is the property of that name."""
        if name != "value":
            return [properties.get(name) for properties in self.properties]
        if None not in self.values:
            return self.values
        several = zip(self.values, self.properties, strict=True)
        return [properties.get(name) if value is None else value for value, properties in several]
