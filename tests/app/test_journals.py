"""The journal: every entry adds up to zero, and together they say what the invoices say."""

import re
from collections import defaultdict
from collections.abc import Sequence
from decimal import Decimal
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from app.cli import main
from app.exports.entries import Account, Entry, entries
from app.exports.journals import Form, beancount, hledger, journal
from app.ledger import Ledger
from domain.invoices import Invoice, Status
from domain.periods import EPOCH
from domain.settlements import balance_change
from projections import invoices
from tests import marks
from tests.app.rich import issued as issued_invoices
from tests.app.rich import rich
from tests.app.test_exported_logs import folder
from tests.app.test_issued_invoices import STEPS, Business, issued
from tests.conftest import CLOCK

pytestmark = marks.COMMANDS

__all__ = ["folder"]

HEADS = {
    Form.BEANCOUNT: re.compile(r'(\d{4}-\d\d-\d\d) \* ("(?:[^"\\]|\\.)*") ("(?:[^"\\]|\\.)*")(.*)'),
    Form.HLEDGER: re.compile(r"(\d{4}-\d\d-\d\d) \* (?:\([^()]*\) )?([^;|]*) \| ([^;|]*)(  ; .*)"),
}
METADATA = re.compile(r'  [a-z]+: (?:"(?:[^"\\]|\\.)*"|\d+)')
POSTING = re.compile(r"  ([A-Z]\w+(?::[A-Z]\w+)+) +(-?\d+(?:\.\d+)?) ([A-Z]{3})")
DECLARED = {
    Form.BEANCOUNT: re.compile(r"1970-01-01 open (\S+)"),
    Form.HLEDGER: re.compile(r"account (\S+)"),
}

Posting = tuple[str, Decimal, str]


def parsed(text: str, form: Form) -> list[tuple[tuple[str, ...], list[Posting]]]:
    """The transactions of a journal, (head, postings); every line must be one that is known."""
    found: list[tuple[tuple[str, ...], list[Posting]]] = []
    accounts: set[str] = set()
    for line in text.split("\n"):
        if declared := DECLARED[form].fullmatch(line):
            accounts.add(declared[1])
        elif head := HEADS[form].fullmatch(line):
            found.append((head.groups(), []))
        elif posting := POSTING.fullmatch(line):
            assert posting[1] in accounts
            found[-1][1].append((posting[1], Decimal(posting[2]), posting[3]))
        else:
            assert not line or METADATA.fullmatch(line), line
    return found


@pytest.mark.parametrize("form", Form)
def test_every_transaction_of_a_journal_is_balanced(
    folder: Path, form: Form, capfdbinary: pytest.CaptureFixture[bytes]
) -> None:
    assert main(["export", "--data", str(folder), "--journal", form]) == 0
    text = capfdbinary.readouterr().out.decode()
    assert text == b"".join(journal(folder, form)).decode()
    transactions = parsed(text, form)
    known = list(entries(folder))
    assert len(transactions) == len(known)
    for (head, postings), entry in zip(transactions, known, strict=True):
        assert sum(amount for _, amount, _ in postings) == 0
        assert {currency for _, _, currency in postings} == {entry.currency}
        assert [(account, amount) for account, amount, _ in postings] == list(entry.postings)
        assert all(link in head[-1] for link in entry.links)
        assert entry.customer_id in (head[-1] if form is Form.HLEDGER else text)


def test_each_kind_of_fact_moves_money_as_the_page_says(folder: Path) -> None:
    told = {entry.what: dict(entry.postings) for entry in entries(folder)}
    receivables, balances, revenue = Account.RECEIVABLES, Account.BALANCES, Account.REVENUE
    payments, written_off = Account.PAYMENTS, Account.WRITTEN_OFF
    expected: dict[str, dict[Account, str]] = {
        "Invoice 000001": {receivables: "100", revenue: "-100"},
        "Payment of invoice 000001": {payments: "105", receivables: "-100", balances: "-5"},
        "Credit note CN-000001 to invoice 000001": {revenue: "1.25", balances: "-1.25"},
        "Credit note CN-000002 to invoice 000002": {revenue: "0.5", receivables: "-0.5"},
        "Invoice 000002 voided": {revenue: "6.5", receivables: "-5.5", balances: "-1"},
        "Invoice 000003 written off": {written_off: "200", receivables: "-200"},
        "Credit note CN-000003 to invoice 000003": {revenue: "0.75", written_off: "-0.75"},
        "Payment of invoice 000003": {payments: "2", written_off: "-2"},
        "Invoice 000004 voided": {revenue: "7", written_off: "-6", balances: "-1"},
        "Invoice 000010": {balances: "-13", revenue: "13"},
        "Invoice 000011": {balances: "7", revenue: "-7"},
        "Invoice 000013": {receivables: "6", balances: "1", revenue: "-7"},
    }
    for what, postings in expected.items():
        assert told[what] == {account: Decimal(amount) for account, amount in postings.items()}
    assert {account for postings in told.values() for account in postings} == set(Account)


def test_the_accounts_say_what_the_invoices_say(ledger: Ledger) -> None:
    rich(ledger)
    check_accounts(ledger, issued_invoices(ledger))


@settings(max_examples=15, deadline=None)
@given(steps=st.lists(STEPS, max_size=25))
def test_the_accounts_say_so_whatever_happens(steps: Sequence[tuple[Any, ...]]) -> None:
    with TemporaryDirectory() as folder, Ledger(Path(folder), test_clock_at=CLOCK) as ledger:
        business = Business(ledger)
        for step in steps:
            business.happens(*step)
        check_accounts(ledger, issued(ledger))


def check_accounts(ledger: Ledger, known: Sequence[Invoice]) -> None:
    """The balance of each account is what the views add up to; no fact about money is left out."""
    accounts: defaultdict[Account, Decimal] = defaultdict(Decimal)
    entered = set()
    for entry in entries(ledger.directory):
        assert sum(amount for _, amount in entry.postings) == 0
        entered.add(entry.position)
        for account, amount in entry.postings:
            accounts[account] += amount
    with ledger.snapshot() as views:
        customers = {invoice.customer_id for invoice in known}
        held = sum(amount for id in customers for amount, _ in invoices.balances(views, id))
    due: defaultdict[Status, Decimal] = defaultdict(Decimal)
    for invoice in known:
        due[invoice.status] += invoice.amount_due
    received = sum(payment.amount for invoice in known for payment in invoice.payments)
    assert accounts[Account.RECEIVABLES] == due[Status.OPEN]
    assert accounts[Account.WRITTEN_OFF] == due[Status.UNCOLLECTIBLE]
    assert accounts[Account.BALANCES] == -held
    assert accounts[Account.PAYMENTS] == received
    earned = sum(
        invoice.statement.total - invoice.amount_credited
        for invoice in known
        if invoice.status is not Status.VOID and invoice.statement is not None
    )
    assert accounts[Account.REVENUE] == -earned
    for recorded in ledger.store.read():
        change = balance_change(recorded.event)
        if change is not None and change.amount:
            assert recorded.position in entered


def test_currencies_have_their_own_digits() -> None:
    entry = an_entry(currency="JPY", amount=Decimal(1_500))
    assert "Assets:Receivables                            1500 JPY\n" in beancount(entry)
    assert "Income:Revenue                           -1500.000 KWD\n" in hledger(
        an_entry(currency="KWD", amount=Decimal(1_500))
    )


TEXTS = st.one_of(
    st.text(max_size=30),
    st.text(st.sampled_from('\\"\n\r\t;|(){}*!=:,^# \u2028\x85ab'), max_size=12),
)


@given(customer=TEXTS, note=st.none() | TEXTS)
def test_no_name_breaks_out_of_its_line(customer: str, note: str | None) -> None:
    entry = an_entry(customer=customer, note=note)
    for form, written in ((Form.BEANCOUNT, beancount), (Form.HLEDGER, hledger)):
        declared = {
            Form.BEANCOUNT: "1970-01-01 open {}",
            Form.HLEDGER: "account {}",
        }[form]
        head = "\n".join(declared.format(account) for account in Account)
        ((found, postings),) = parsed(head + written(entry), form)
        assert found[0] == "1970-01-01"
        assert found[-1].count("inv_1") == 1
        assert [account for account, _, _ in postings] == ["Assets:Receivables", "Income:Revenue"]


def an_entry(
    *,
    customer: str = "al",
    note: str | None = None,
    currency: str = "USD",
    amount: Decimal = Decimal(1),
) -> Entry:
    """An invoice."""
    return Entry(
        at=EPOCH,
        position=7,
        what="Invoice 000001",
        note=note,
        customer=customer,
        customer_id="cus_1",
        links=("inv_1",),
        currency=currency,
        postings=((Account.RECEIVABLES, amount), (Account.REVENUE, -amount)),
    )
