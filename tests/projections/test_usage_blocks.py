"""Blocks of usage records: whatever they are asked for, they answer as one list in order would."""

from contextlib import closing
from pathlib import Path
from tempfile import TemporaryDirectory

from hypothesis import given
from hypothesis import strategies as st

from projections import usage_blocks
from projections.engine import Engine
from projections.matched_columns import MatchedColumns
from projections.usage_blocks import HOUR_US, ROWS_PER_EVENT, SHARES, Matched, Range

Sent = tuple[int, int, int]
"""(time, customer, event name) of a record."""

SENT = st.tuples(
    st.integers(0, 3 * HOUR_US),
    st.sampled_from([1, 2, 1 + SHARES]),  # of whom two share their blocks
    st.sampled_from([7, 8]),
)
LOGS = st.lists(st.lists(SENT, min_size=1, max_size=8), min_size=1, max_size=5)
RANGES = st.builds(
    Range,
    start_us=st.integers(0, 2 * HOUR_US),
    end_us=st.integers(2 * HOUR_US, 4 * HOUR_US),
    event=st.sampled_from([None, 7, 8]),
    customer=st.sampled_from([None, 1, 2, 1 + SHARES]),
)


def recorded(log: list[list[Sent]]) -> list[tuple[int, Matched]]:
    """The records of a log, each with its event name."""
    return [
        (name, Matched(customer, at_us, position, row, str(row), {}))
        for position, batch in enumerate(log, 1)
        for row, (at_us, customer, name) in enumerate(batch)
    ]


@given(LOGS, RANGES, st.integers(0, 2**32))
def test_a_range_is_read_in_the_order_of_time_and_counted(
    log: list[list[Sent]], asked: Range, chosen: int
) -> None:
    every = recorded(log)
    with (
        TemporaryDirectory() as folder,
        closing(Engine(Path(folder) / "views.db")) as engine,
        engine.database.transaction() as views,
    ):
        for name in (7, 8):
            named = [one for event, one in every if event == name]
            usage_blocks.keep(views, name, MatchedColumns.of(named))
        expected = [one for name, one in every if asked.event in (None, name) and asked.takes(one)]
        expected.sort(key=lambda one: one.time_and_place)
        assert list(usage_blocks.in_order(views, asked)) == expected
        assert usage_blocks.count(views, asked) == len(expected)
        name, one = every[chosen % len(every)]
        assert usage_blocks.at(views, one.in_ledger) == (name, one)
        assert usage_blocks.at(views, one.position * ROWS_PER_EVENT + 1000) is None


@given(LOGS, st.integers(0, 2**32))
def test_a_record_is_changed_dropped_and_put_back(log: list[list[Sent]], chosen: int) -> None:
    every = [(7, one) for _, one in recorded(log)]
    _, before = every[chosen % len(every)]
    after = Matched(
        before.customer_ref, before.timestamp_us, before.position, before.row, None, {"a": "b"}
    )
    everything = Range(start_us=0, end_us=4 * HOUR_US)
    with (
        TemporaryDirectory() as folder,
        closing(Engine(Path(folder) / "views.db")) as engine,
        engine.database.transaction() as views,
    ):
        usage_blocks.keep(views, 7, MatchedColumns.of([one for _, one in every]))
        full = list(engine.database.writing.rows("SELECT * FROM usage_blocks"))
        usage_blocks.change(views, before, after)
        assert usage_blocks.at(views, before.in_ledger) == (7, after)
        usage_blocks.change(views, after, None)
        assert usage_blocks.at(views, before.in_ledger) is None
        assert usage_blocks.count(views, everything) == len(every) - 1
        usage_blocks.add(views, 7, [before])
        assert list(engine.database.writing.rows("SELECT * FROM usage_blocks")) == full
