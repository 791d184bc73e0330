"""The entries of a ledger as a plain-text journal for Beancount or hledger.

A debit is positive and a credit negative, as both programs have it. Names are cleaned of what would
mean something in a journal; ids are links or tags, so that an invoice is found with all it led to.
"""

from collections.abc import Callable, Iterator, Mapping
from enum import StrEnum
from itertools import chain
from pathlib import Path

from app.exports.entries import Account, Entry, entries
from domain.money import format_money
from domain.periods import format_instant
from projections.places import Place


class Form(StrEnum):
    """A program that reads journals."""

    BEANCOUNT = "beancount"
    HLEDGER = "hledger"


def journal(directory: Path, form: Form, place: Place | None = None) -> Iterator[bytes]:
    """The journal of a ledger, entry by entry, in the order of its log."""
    head, write = _FORMS[form]
    for text in chain([head], map(write, entries(directory, place))):
        yield text.encode()


def beancount(entry: Entry) -> str:
    """An entry for Beancount: ids are links, the rest is metadata."""
    links = "".join(f" ^{link}" for link in entry.links)
    note = f"  note: {_quoted(entry.note)}\n" if entry.note else ""
    return (
        f"\n{_date(entry)} * {_quoted(entry.customer)} {_quoted(entry.what)}{links}\n"
        f"  customer: {_quoted(entry.customer_id)}\n{note}  position: {entry.position}\n"
        f"  at: {_quoted(format_instant(entry.at))}\n{_postings(entry)}"
    )


def hledger(entry: Entry) -> str:
    """An entry for hledger: the number or reference is the code, ids are tags."""
    kinds = {"inv": "invoice", "pay": "payment", "cn": "credit_note"}
    tags = [f"{kinds[link.partition('_')[0]]}:{link}" for link in entry.links]
    tags += [f"customer:{entry.customer_id}", f"position:{entry.position}"]
    code = f"({_plain(entry.note)}) " if entry.note else ""
    return (
        f"\n{_date(entry)} * {code}{_plain(entry.customer)} | {_plain(entry.what)}"
        f"  ; {', '.join(tags)}\n{_postings(entry)}"
    )


def _date(entry: Entry) -> str:
    return format_instant(entry.at)[:10]


def _postings(entry: Entry) -> str:
    return "".join(
        f"  {account:<29} {format_money(amount, entry.currency):>20} {entry.currency}\n"
        for account, amount in entry.postings
    )


def _quoted(text: str) -> str:
    """A text for Beancount: in one line, between quotes."""
    line = _one_line(text).replace("\\", "\\\\").replace('"', '\\"')
    return f'"{line}"'


def _plain(text: str) -> str:
    """A text for hledger, without what would end it: a comment, a payee or a code."""
    return _one_line(text).translate({ord(";"): ",", ord("|"): "/", ord("("): "[", ord(")"): "]"})


def _one_line(text: str) -> str:
    """The text without line breaks and other characters that nobody sees."""
    return " ".join("".join(c if c.isprintable() else " " for c in text).split())


def _opened() -> str:
    """Beancount wants each account to be opened; the date is before any that is recorded."""
    return "".join(f"1970-01-01 open {account}\n" for account in Account)


def _declared() -> str:
    return "".join(f"account {account}\n" for account in Account)


_FORMS: Mapping[Form, tuple[str, Callable[[Entry], str]]] = {
    Form.BEANCOUNT: (_opened(), beancount),
    Form.HLEDGER: (_declared(), hledger),
}
