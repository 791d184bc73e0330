"""The book itself: opened once, with the system's clock or a test clock."""

from datetime import UTC, datetime

from domain.ledgers import Facts, LedgerOpened, OpenLedger
from tests.spec import given

AT = datetime(2026, 1, 1, tzinfo=UTC)
FACTS = Facts(id="led_1", at=AT)
OPENED = LedgerOpened(id="led_1", name="main", test_clock_at=None, opened_at=AT)


def test_a_ledger_is_opened() -> None:
    given().when(OpenLedger(name="main"), FACTS).then(OPENED)


def test_a_ledger_with_a_test_clock() -> None:
    opened = LedgerOpened(id="led_1", name="what if", test_clock_at=AT, opened_at=AT)
    given().when(OpenLedger(name="what if", test_clock_at=AT), FACTS).then(opened)


def test_an_open_ledger_is_not_opened_again() -> None:
    given(OPENED).when(OpenLedger(name="another"), FACTS).then()


def test_a_ledger_needs_a_name() -> None:
    given().when(OpenLedger(name=""), FACTS).then_rejected("REQUIRED", "name")
