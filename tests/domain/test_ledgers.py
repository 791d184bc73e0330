"""The book itself: opened once, with the system's clock or a test clock that only goes forwards."""

from datetime import UTC, datetime, timedelta

from msgspec.structs import replace

from domain.ledgers import (
    MOST_ADVANCE,
    AdvanceClock,
    ClockAdvanced,
    Facts,
    ForkLedger,
    LedgerForked,
    LedgerOpened,
    OpenLedger,
    Origin,
    evolve,
)
from tests.spec import given

AT = datetime(2026, 1, 1, tzinfo=UTC)
FACTS = Facts(id="led_1", at=AT)
OPENED = LedgerOpened(id="led_1", name="main", test_clock_at=None, opened_at=AT)
WITH_TEST_CLOCK = LedgerOpened(id="led_1", name="main", test_clock_at=AT, opened_at=AT)
LATER = AT + timedelta(days=31)
ADVANCED = ClockAdvanced(id="led_1", to=LATER)


def test_a_ledger_is_opened() -> None:
    given().when(OpenLedger(name="main"), FACTS).then(OPENED)


def test_a_ledger_with_a_test_clock() -> None:
    opened = LedgerOpened(id="led_1", name="what if", test_clock_at=AT, opened_at=AT)
    given().when(OpenLedger(name="what if", test_clock_at=AT), FACTS).then(opened)


def test_an_open_ledger_is_not_opened_again() -> None:
    given(OPENED).when(OpenLedger(name="another"), FACTS).then()


def test_a_ledger_needs_a_name() -> None:
    given().when(OpenLedger(name=""), FACTS).then_rejected("REQUIRED", "name")


def test_a_test_clock_is_moved_forwards() -> None:
    given(WITH_TEST_CLOCK).when(AdvanceClock(to=LATER), FACTS).then(ADVANCED)
    given(WITH_TEST_CLOCK, ADVANCED).when(AdvanceClock(to=LATER), FACTS).then()


def test_a_test_clock_is_moved_again_from_where_it_stands() -> None:
    later = LATER + timedelta(microseconds=1)
    advanced = ClockAdvanced(id="led_1", to=later)
    given(WITH_TEST_CLOCK, ADVANCED).when(AdvanceClock(to=later), FACTS).then(advanced)


def test_a_test_clock_never_goes_back() -> None:
    earlier = LATER - timedelta(microseconds=1)
    asked = given(WITH_TEST_CLOCK, ADVANCED).when(AdvanceClock(to=earlier), FACTS)
    asked.then_rejected("INVALID_VALUE", "input.to")


def test_a_test_clock_is_moved_ten_years_at_most() -> None:
    most = AT + MOST_ADVANCE
    given(WITH_TEST_CLOCK).when(AdvanceClock(to=most), FACTS).then(
        ClockAdvanced(id="led_1", to=most)
    )
    asked = given(WITH_TEST_CLOCK).when(AdvanceClock(to=most + timedelta(microseconds=1)), FACTS)
    asked.then_rejected("LIMIT_EXCEEDED", "input.to")


def test_the_systems_clock_is_nobodys_to_move() -> None:
    given(OPENED).when(AdvanceClock(to=LATER), FACTS).then_rejected("FORBIDDEN", "input")


def test_a_fork_goes_on_where_the_ledger_stood_with_a_clock_of_its_own() -> None:
    asked = ForkLedger(position=7, hash="ab")
    origin = Origin(ledger_id="led_1", position=7, hash="ab")
    forked = LedgerForked(id="led_2", name="main", origin=origin, clock_at=LATER)
    facts = Facts(id="led_2", at=LATER)
    given(OPENED).when(asked, facts).then(forked)
    later = LATER + timedelta(days=1)
    given(OPENED).when(ForkLedger(position=7, hash="ab", clock_at=later), facts).then(
        replace(forked, clock_at=later)
    )
    state = evolve(None, forked)
    assert state is not None
    assert (state.id, state.clock_at, state.forked_from) == ("led_2", LATER, origin)
    moved = ClockAdvanced(id="led_2", to=later)
    given(forked).when(AdvanceClock(to=later), facts).then(moved)


def test_a_forks_clock_never_stands_before_what_was_recorded() -> None:
    asked = ForkLedger(position=7, hash="ab", clock_at=AT)
    given(OPENED).when(asked, Facts(id="led_2", at=LATER)).then_rejected("INVALID_VALUE", "at")


def test_a_fork_is_of_a_ledger() -> None:
    given().when(ForkLedger(position=7, hash="ab"), FACTS).then_rejected("NOT_FOUND", "position")
