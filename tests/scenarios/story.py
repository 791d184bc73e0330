"""Read a story, tell it to a real ledger, and print its bills: the language of the scenario files.

A scenario is prose with fenced blocks. The first block under a heading that begins with "Bill" is
the bill that the story comes to at that point, under one such as "Invoice 2 of alpaca-lover" the
invoice as it stands by then, under "Balance of alpaca-lover" what we owe, under "Why line 1 of
invoice 2 of alpaca-lover" how a line came about; every other block holds steps, one a line, each
with the date on which it happens, to which the clock is moved:

    2026-01-01 meter tokens: sum of alpaca_ai_tokens
    2026-01-01 price usage: graduated USD, per month, on tokens, 0 up to 1000, then 0.04
    2026-01-01 customer alpaca-lover
    2026-01-01 subscribe alpaca-lover to licence x 1, usage
    2026-01-10 use 3000 tokens by alpaca-lover

A date is its first instant in UTC, or in the zone of a line such as `times in Europe/Berlin`; an
instant with its offset (`2026-01-31T23:59:59Z`) is itself. Lines that begin with # are remarks.
A new step is its sentence and its method below; what may follow its colon or its "to" is a clause.
"""

import re
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial
from zoneinfo import ZoneInfo

from app.ledger import Ledger
from app.opening import open_store
from domain import customers, meters, prices, products, subscription_changes
from domain.aggregation import Aggregation
from domain.customers import Customer, UpdateCustomer
from domain.invoices import Invoice
from domain.periods import parse_instant
from domain.subscriptions import Subscription
from domain.usage import RecordInput
from projections import current, invoices, statements
from projections.explanations import Invoiced
from projections.invoice_previews import Preview, preview
from projections.tables import Views
from tests.scenarios import changes, clauses, settling, using
from tests.scenarios.bill import print_balance, print_bill, print_invoice
from tests.scenarios.sentences import Sentences, Untold
from tests.scenarios.why import print_why

sentence = Sentences()


@dataclass(frozen=True)
class Block:
    """A fenced block, and the heading that it is the first block under."""

    heading: str
    text: str

    @property
    def is_bill(self) -> bool:
        """Whether it is what a story must come to."""
        return self.heading.startswith(("Bill", "Invoice", "Balance", "Why"))


def parts(document: str) -> Iterator[str | Block]:
    """A scenario file in its parts: prose (with the fences) and blocks, nothing left out."""
    heading, prose = "", list[str]()
    block: list[str] | None = None
    for line in document.splitlines(keepends=True):
        if line.startswith("```"):
            if block is not None:
                yield Block(heading, "".join(block))
                heading, block, prose = "", None, []
            else:
                yield "".join([*prose, line])
                block = []
                continue
        (prose if block is None else block).append(line)
        if block is None and line.startswith("#"):
            heading = line.lstrip("#").strip()
    assert block is None, "the last block is not closed"
    yield "".join(prose)


@dataclass(frozen=True)
class Told:
    """A bill as it was when the story came to it, and how to print it again from other views."""

    text: str
    position: int
    again: Callable[[Views], str]


class Story:
    """A story as far as it has been told to a ledger."""

    def __init__(self, ledger: Ledger) -> None:
        self.ledger = ledger
        self.zone = "UTC"
        self.ids: dict[str, str] = {}
        self.prices: dict[str, str] = {}
        self.subscriptions: dict[str, str] = {}
        self._product = ""
        self.sent: list[RecordInput] = []

    def tell(self, text: str) -> None:
        """Carry out the steps of one block."""
        for line in text.splitlines():
            if line.strip() and not line.startswith("#"):
                self._step(line.strip())

    def bill(self, heading: str) -> Told:
        """What a heading asks for.

        `Bill at <date>` or `Bill of <customer> at <date>`; `Bill if <subscription> changes:
        licence x 3`, and `Bill if <subscription> is canceled now`, of what has not happened;
        `Invoice 2 of <customer>` is the second one drafted for that customer; `Balance of
        <customer>` is what we owe them. `Why line 1 of invoice 2 of <customer>` and `Why line 1 at
        <date>` say how a line came about.
        """
        if found := re.fullmatch(r"Why line (\d+) of invoice (\d+) of (\S+)", heading):
            return self._told(partial(self._print_why, int(found[1]), int(found[2]), found[3]))
        if found := re.fullmatch(r"Why line (\d+) at (\S+)", heading):
            at = self.instant(found[2])
            return self._told(partial(self._print_why_so_far, int(found[1]), at))
        if found := re.fullmatch(r"Invoice (\d+) of (\S+)", heading):
            return self._told(partial(self._print_invoice, int(found[1]), found[2]))
        if found := re.fullmatch(r"Balance of (\S+)", heading):
            return self._told(partial(self._print_balance, found[1]))
        if found := re.fullmatch(r"Bill if (\S+) changes: (.+)", heading):
            return self._imagined(changes.change_command(self, found[1], found[2]))
        if found := re.fullmatch(rf"Bill if (\S+) is canceled {changes.END}", heading):
            return self._imagined(changes.cancel_command(self, *found.groups()))
        found = re.fullmatch(r"Bill(?: of (\S+))? at (\S+)", heading)
        assert found, f"unknown kind of bill: {heading}"
        return self._told(partial(self._print, found[1], self.instant(found[2])))

    def _imagined(self, command: subscription_changes.Command) -> Told:
        return self._told(partial(self._print_imagined, command, self.ledger.clock.now()))

    def subscription(self, views: Views, name: str) -> Subscription:
        """A subscription by its name in the story, as it stands."""
        found = current.get(views, Subscription, self.subscriptions.get(name, ""))
        if found is None:
            raise Untold(f"nobody subscribed as {name}")
        return found

    def _told(self, show: Callable[[Views], str]) -> Told:
        with self.ledger.snapshot() as views:
            return Told(show(views), views.checkpoint(), show)

    def instant(self, text: str) -> datetime:
        """A date in the story's zone, or an instant with its offset."""
        if "T" in text:
            return parse_instant(text, ("story",))
        midnight = datetime.fromisoformat(text).replace(tzinfo=ZoneInfo(self.zone))
        return midnight.astimezone(UTC)

    def _step(self, line: str) -> None:
        if found := re.fullmatch(r"times in (\S+)", line):
            self.zone = found[1]
            return
        date, _, rest = line.partition(" ")
        told = (sentence, using.sentence, changes.sentence, settling.sentence)
        for pattern, step in [one for sentences in told for one in sentences.known]:
            if found := pattern.fullmatch(rest):
                at = self.instant(date)
                if at > self.ledger.clock.now():
                    self.ledger.advance_now(at)
                step(self, at, *found.groups())
                return
        raise AssertionError(f"no such step: {line}")

    def _print(self, customer: str | None, at: datetime, views: Views) -> str:
        found = _preview(views, self.ids[customer] if customer else None, at)
        return print_bill(found, self._names, self.zone)

    def _print_imagined(
        self, command: subscription_changes.Command, now: datetime, views: Views
    ) -> str:
        found = changes.billed(views, command, now)
        assert found is not None, "nothing would be billed"
        return print_bill(found, self._names, self.zone)

    def _print_invoice(self, number: int, customer: str, views: Views) -> str:
        invoice = self._invoice(views, number, customer)
        says = statements.of_invoice(views, invoice, self.ledger.clock.now())
        return print_invoice(invoice, says, self._names, self.zone)

    def _print_why(self, line: int, number: int, customer: str, views: Views) -> str:
        invoice = self._invoice(views, number, customer)
        says = statements.of_invoice(views, invoice, self.ledger.clock.now())
        return self._why(views, Invoiced.of(invoice, says), line)

    def _print_why_so_far(self, line: int, at: datetime, views: Views) -> str:
        found = _preview(views, None, at)
        says = statements.statement(views, found, "preview")
        return self._why(views, Invoiced.previewed(found, says), line)

    def _why(self, views: Views, invoiced: Invoiced, line: int) -> str:
        names = self._names | {id: name for name, id in self.ids.items()}
        # Views are also read when the ledger that the story was told to is closed.
        with closing(
            open_store(self.ledger.directory, self.ledger.place, exclusive=False)
        ) as store:
            return print_why(views, store, invoiced, line, names)

    def _print_balance(self, customer: str, views: Views) -> str:
        if current.get(views, Customer, self.ids[customer]) is None:
            raise Untold(f"nobody is called {customer}")
        return print_balance(invoices.balances(views, self.ids[customer]))

    def invoice(self, number: int, customer: str) -> Invoice:
        """An invoice of a customer, by the order in which they were drafted."""
        with self.ledger.snapshot() as views:
            return self._invoice(views, number, customer)

    def _invoice(self, views: Views, number: int, customer: str) -> Invoice:
        keys = {"customerId": self.ids.get(customer, "")}
        found = current.select(views, Invoice, keys, limit=number)
        if len(found) < number:
            raise Untold(f"{customer} has {len(found)} invoices")
        invoice: Invoice = found[-1].state
        return invoice

    @property
    def _names(self) -> dict[str, str]:
        """What the story calls each price."""
        return {id: name for name, id in self.prices.items()}

    # ------------------------------------------------------------------------------ sentences

    @sentence(r"time passes")
    def let_time_pass(self, at: datetime) -> None:
        """`time passes`: whatever falls due until then happens."""

    @sentence(r"meter (\S+): ([a-z ]+) of (?:(\S+) in )?(\S+?)(, carried over)?(?: by (.+))?")
    def define_meter(
        self,
        at: datetime,
        name: str,
        aggregation: str,
        value: str | None,
        event: str,
        carried: str | None,
        dimensions: str | None,
    ) -> None:
        """`meter tokens: sum of alpaca_ai_tokens by model, region`.

        Also `weighted sum of seats, carried over` and `unique count of user in calls`.
        """
        command = meters.CreateMeter(
            name=name,
            event_name=event,
            aggregation=_aggregation(aggregation),
            value_property=value or "value",
            carries_over=carried is not None,
            dimensions=tuple(dimensions.split(", ")) if dimensions else (),
        )
        self.ids[name] = self.ledger.execute_now(command).subject

    @sentence(r"meter (\S+) is ([a-z ]+) from (\S+)")
    def revise_meter(self, at: datetime, name: str, aggregation: str, when: str) -> None:
        """`meter tokens is max from 2026-01-16`: from then on it measures otherwise."""
        command = meters.ReviseMeter(
            meter_id=self.ids[name],
            effective_at=self.instant(when),
            aggregation=_aggregation(aggregation),
        )
        self.ledger.execute_now(command)

    @sentence(r'product "(.+)"')
    def create_product(self, at: datetime, name: str) -> None:
        """`product "Alpaca.ai usage"`: what the prices after it are for."""
        self._product = self.ledger.execute_now(products.CreateProduct(name=name)).subject

    @sentence(r"price (\S+): (.+)")
    def set_price(self, at: datetime, name: str, terms: str) -> None:
        """`price licence: 100 USD, per month, in advance`: see `clauses.price`."""
        command = clauses.price(name, self._product, terms, self.ids)
        self.prices[name] = self.ledger.execute_now(command).subject

    @sentence(r"price (\S+) asks from (\S+): (.+)")
    def supersede_price(self, at: datetime, name: str, when: str, terms: str) -> None:
        """`price usage asks from 2026-01-11: 0.05 USD`."""
        command = prices.SupersedePrice(
            price_id=self.prices[name],
            effective_at=self.instant(when),
            pricing=clauses.asked(terms, self.ids)["pricing"],
        )
        self.ledger.execute_now(command)

    @sentence(r"customer (\S+?)(?:, in (\S+))?")
    def take_on(self, at: datetime, name: str, zone: str | None) -> None:
        """`customer alpaca-lover, in Europe/Berlin`."""
        command = customers.CreateCustomer(name=name, external_id=name, time_zone=zone)
        self.ids[name] = self.ledger.execute_now(command).subject

    @sentence(r"customer (\S+) is known as (\S+)")
    def rename(self, at: datetime, name: str, key: str) -> None:
        """`customer alpaca-lover is known as lama-lover`: to whoever sends usage from now on."""
        if name not in self.ids:
            raise Untold(f"nobody is called {name}")
        self.ledger.execute_now(UpdateCustomer(customer_id=self.ids[name], external_id=key))

    @sentence(r"subscribe (\S+)(?: as (\S+))? to (.+)")
    def subscribe(self, at: datetime, customer: str, name: str | None, terms: str) -> None:
        """`subscribe alpaca-lover to licence x 2, usage, from 2026-01-15`.

        The subscription is called what its customer is, unless it says `as herd`.
        """
        if customer not in self.ids:
            raise Untold(f"nobody is called {customer}")
        command = clauses.subscription(self.ids[customer], at, terms, self.prices, self.instant)
        self.subscriptions[name or customer] = self.ledger.execute_now(command).subject


def _aggregation(name: str) -> Aggregation:
    return Aggregation(name.upper().replace(" ", "_"))


def _preview(views: Views, customer_id: str | None, at: datetime) -> Preview:
    """The bill at an instant of the one subscription that a customer, or the story, has."""
    keys = {"customerId": customer_id} if customer_id else {}
    [found] = current.select(views, Subscription, keys, limit=2)
    assert current.get(views, Customer, found.state.customer_id)
    made = preview(views, found.state, now=at, at=at)
    assert made is not None, "the subscription has not started"
    return made
