"""A random history: a year or so of one business, as the steps of a story.

Whoever reads a history that failed can tell it again: it is the language of `tests/scenarios`, with
two more sentences. `kill at written 2` kills the process when it passes that point for the second
time from then on, `fail at keeping 1` has it meet an error there (`mortal.py`). Some steps are
refused, as some are in life.
"""

import random
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from domain.periods import format_instant
from tests.histories.catalogue import (
    AMOUNTS,
    ARREARS,
    CUSTOMERS,
    LATER,
    LICENCES,
    METERED,
    RATES,
    USAGE,
    USAGE_AT_FIRST,
    VALUES,
    YEN,
    ZONES,
)

BEGIN = datetime(2026, 1, 1, tzinfo=UTC)
"""Where the clock of every history stands at first."""

KILLED_AT = ("deciding", "halfway", "writing", "written", "keeping", "kept", "opening")
"""Where a process may be killed: while it decides, within the transaction, before and after the
views are kept, and while it opens what was left by the one before."""
FAILS_AT = ("halfway", "writing", "written", "keeping")
"""Where something may fail that is not the code's own fault."""


@dataclass(frozen=True)
class Case:
    """A history, and how many hours a draft with usage waits for late records."""

    seed: int
    grace: int
    steps: tuple[str, ...]


def case(seed: int) -> Case:
    """The history of a seed."""
    return _History(seed).case()


class _History:
    """A history in the making: the chance, the time it has come to, and what it knows so far."""

    def __init__(self, seed: int) -> None:
        self._seed = seed
        self._chance = random.Random(seed)
        self._now = BEGIN
        self._steps: list[str] = []
        self._licences: list[str] = []
        self._usage: list[str] = []
        self._subscriptions: dict[str, list[str]] = {}
        self._customers: list[str] = []
        self._names = list(CUSTOMERS)
        self._uses = 0
        self._currency = self._chance.choice(("USD", "USD", "USD", "JPY"))

    def case(self) -> Case:
        """The whole history."""
        grace = self._chance.choice((0, 0, 1, 1, 30))
        self._catalogue()
        if self._chance.random() < 0.8:
            self._subscribe()
        for _ in range(self._chance.randint(6, 22)):
            if self._chance.random() < 0.4:
                self._pass_time()
            self._chance.choices(list(WEIGHTS), list(WEIGHTS.values()))[0](self)
        self._pass_time()
        self._say("time passes")
        return Case(self._seed, grace, tuple(self._steps))

    def _say(self, sentence: str) -> None:
        self._steps.append(f"{format_instant(self._now)} {sentence}")

    def _pass_time(self) -> None:
        """On to some time: often an instant at which something falls due, or one next to it."""
        pick = self._chance.random()
        if pick < 0.4:
            step = timedelta(days=self._chance.randint(0, 9), hours=self._chance.randint(0, 30))
        elif pick < 0.5:
            step = timedelta(microseconds=self._chance.randint(1, 9 * 86_400_000_000))
        elif pick < 0.97:
            step = self._until_the_first() + self._chance.choice(
                (timedelta(), timedelta(), timedelta(hours=1), timedelta(microseconds=1))
            )
        else:
            step = timedelta(days=self._chance.randint(28, 120))
        self._now += step

    def _until_the_first(self) -> timedelta:
        """Until the first of next month."""
        midnight = self._now.replace(hour=0, minute=0, second=0, microsecond=0)
        return (midnight.replace(day=1) + timedelta(days=32)).replace(day=1) - self._now

    def _some_instant(self, days_back: int, days_ahead: int) -> str:
        """An instant around the present one, often at midnight."""
        days = self._chance.randint(-days_back, days_ahead)
        instant = self._now + timedelta(days=days)
        if self._chance.random() < 0.5:
            instant = instant.replace(hour=0, minute=0, second=0, microsecond=0)
        elif self._chance.random() < 0.3:
            instant += timedelta(seconds=self._chance.randint(-50_000, 50_000))
        return format_instant(instant)

    # ------------------------------------------------------------------------------ the catalogue

    def _catalogue(self) -> None:
        """Meters, some prices and a customer."""
        self._say("meter tokens: sum of tokens by model")
        self._say("meter peak: max of peak")
        self._say("meter seats: weighted sum of seats, carried over")
        self._say('product "Alpaca.ai"')
        count = self._chance.randint(2, 4)
        for name in self._chance.sample(list(LICENCES), count):
            self._say(f"price {name}: {self._priced(LICENCES[name])}")
            self._licences.append(name)
        for name in self._chance.sample(USAGE_AT_FIRST, self._chance.choice((0, 1, 2, 3, 4))):
            self._say(f"price {name}: {self._priced(USAGE[name])}")
            self._usage.append(name)
        self._take_on()

    def _priced(self, terms: str) -> str:
        yen = self._currency == "JPY"
        return terms.replace(";", ",").format(
            money=self._currency,
            amount=self._chance.choice(YEN if yen else AMOUNTS),
            rate=self._chance.choice(RATES),
        )

    def _take_on(self) -> None:
        """One more customer, if there is another one."""
        if len(self._customers) < len(CUSTOMERS):
            name = CUSTOMERS[len(self._customers)]
            self._say(f"customer {name}, in {self._chance.choice(ZONES)}")
            self._customers.append(name)

    def _rename(self) -> None:
        """A customer goes by another name, or by one that somebody else gave up."""
        name = self._chance.choice(self._customers)
        new = self._chance.choice((f"{name}-2", *self._names))
        self._say(f"customer {name} is known as {new}")
        self._names.append(new)

    def _sell_more(self) -> None:
        """Something is measured that was sent before, and sold."""
        if LATER not in self._usage:
            self._say("meter calls: sum of calls")
            self._say(f"price {LATER}: {self._priced(USAGE[LATER])}")
            self._usage.append(LATER)

    # ------------------------------------------------------------------------------ subscriptions

    def _subscribe(self) -> None:
        """A subscription of some items, with whatever goes with it."""
        if len(self._subscriptions) >= 3:
            return self._change()
        every = [*self._licences, *self._usage]
        names = self._chance.sample(every, self._chance.randint(1, min(4, len(every))))
        if self._usage and self._chance.random() < 0.6:
            names = list(dict.fromkeys([*names, self._chance.choice(self._usage)]))
        clauses = [f"{name}{self._quantity(name)}" for name in names]
        start = self._now
        if self._chance.random() < 0.5:
            start += timedelta(hours=self._chance.choice((-2000, -700, -50, 24, 100, 900)))
            clauses.append(f"from {format_instant(start)}")
        if self._chance.random() < 0.25:
            end = start + timedelta(hours=self._chance.choice((1, 24, 336, 1000)))
            clauses.append(f"trial to {format_instant(end)}")
            if self._chance.random() < 0.3:
                clauses.append("usage billed in the trial")
        if self._chance.random() < 0.4:
            anchor = start + timedelta(hours=self._chance.randint(-900, 900))
            midnight = anchor.replace(hour=0, minute=0, second=0, microsecond=0)
            clauses.append(f"anchored at {format_instant(self._chance.choice((anchor, midnight)))}")
        if self._chance.random() < 0.3:
            clauses.append("by whole days")
        if self._chance.random() < 0.3:
            clauses.append(f"sent and due in {self._chance.choice((0, 14, 30))} days")
        customer = self._chance.choice(self._customers)
        name = f"s{len(self._subscriptions) + 1}"
        self._say(f"subscribe {customer} as {name} to {', '.join(clauses)}")
        self._subscriptions[name] = names
        return None

    def _quantity(self, name: str) -> str:
        if name in self._usage:
            return ""
        return self._chance.choice(("", " x 1", " x 2", " x 5", " x 0", " x 2.5"))

    def _some_subscription(self) -> str:
        return self._chance.choice(list(self._subscriptions))

    def _change(self) -> None:
        """Other quantities and prices, items added and removed."""
        if not self._subscriptions:
            return self._subscribe()
        name = self._some_subscription()
        clauses = [self._item_change(name)]
        if self._chance.random() < 0.3:
            clauses.append(self._item_change(name))
        if self._chance.random() < 0.35:
            clauses.append(f"from {self._some_instant(25, 40)}")
        behavior = self._chance.random()
        if behavior < 0.35:
            clauses.append("invoiced now")
        elif behavior < 0.55:
            clauses.append("without prorations")
        self._say(f"change {name}: {', '.join(clauses)}")
        return None

    def _item_change(self, name: str) -> str:
        """A change of one item; it is kept in mind as if it were not refused."""
        items = self._subscriptions[name]
        every = [*self._licences, *self._usage]
        others = [price for price in every if price not in items] or every
        mine, other = self._chance.choice(items), self._chance.choice(others)
        kind = self._chance.random()
        if kind < 0.4 and mine not in self._usage:
            return f"{mine} x {self._chance.choice(('0', '1', '2', '3', '7', '2.5'))}"
        if kind < 0.6:
            items.append(other)
            return f"add {other}{self._quantity(other)}"
        if kind < 0.75 and len(items) > 1:
            items.remove(mine)
            return f"remove {mine}"
        items[items.index(mine)] = other
        return f"{mine} becomes {other}{self._quantity(other)}"

    def _cancel(self) -> None:
        """An end, now or later."""
        if not self._subscriptions:
            return self._subscribe()
        when = self._chance.choice(
            ("now", "at period end", "at period end", f"at {self._some_instant(1, 60)}")
        )
        how = self._chance.choice(("", "", "", ", discarding usage", ", without prorations"))
        self._say(f"cancel {self._some_subscription()} {when}{how}")
        return None

    def _reactivate(self) -> None:
        """No end after all."""
        if self._subscriptions:
            self._say(f"reactivate {self._some_subscription()}")

    def _hold(self) -> None:
        """Drafts are kept back, or issued after all."""
        if self._subscriptions:
            verb = self._chance.choice(("pause", "resume", "unpark"))
            self._say(f"{verb} {self._some_subscription()}")

    # -------------------------------------------------------------------------------------- usage

    def _use(self) -> None:
        """Some usage, just now or a little before; sometimes before anybody knows the customer."""
        self._say(f"use {self._used()}")

    def _used(self) -> str:
        priced = [METERED.findall(USAGE[name])[0] for name in self._usage]
        meter = self._chance.choice(("tokens", "peak", "seats", "calls", *priced * 3))
        value = self._chance.choice(VALUES)
        back = self._chance.choice((0, 0, 0, 1, 20, 700, 1500))
        at = format_instant(self._now - timedelta(hours=back)) if back else ""
        customer = self._chance.choice(
            self._names if self._chance.random() < 0.2 else self._customers
        )
        model = self._chance.choice(("", "", ", model=small", ", model=large", ", model=large"))
        self._uses += 1
        return f"{value} {meter} by {customer}{f', at {at}' if at else ''}{model}"

    def _send(self) -> None:
        """Several records at once, in any order of time, and some that were sent before."""
        parts: list[str] = []
        for _ in range(self._chance.randint(2, 6)):
            if self._uses and self._chance.random() < 0.4:
                number = self._chance.randint(max(1, self._uses - 5), self._uses)
                otherwise = self._chance.choice(("", "", f" as {self._chance.choice(VALUES)}"))
                parts.append(f"{number} again{otherwise}")
            else:
                parts.append(self._used())
        self._say(f"send {'; '.join(parts)}")

    def _use_again(self) -> None:
        """The same record once more, or a correction of it."""
        if self._uses:
            number = self._chance.randint(1, self._uses)
            model = self._chance.choice(("", ", model=small", ", model=large"))
            self._say(
                self._chance.choice(
                    (
                        f"use {number} again",
                        f"void use {number}",
                        f"amend use {number} to 42{model}",
                    )
                )
            )

    def _revise(self) -> None:
        """A meter measures otherwise from some time on, or since some time ago."""
        how = self._chance.choice(("sum", "sum", "max", "count"))
        self._say(f"meter tokens is {how} from {self._some_instant(40, 20)}")

    def _supersede(self) -> None:
        """Another version of a price; one of usage may hold from a time that has passed."""
        name = self._chance.choice([*self._licences, *self._usage])
        self._now += timedelta(seconds=1)  # at one instant nobody knows which came first
        terms = {**LICENCES, **USAGE}[name].split(", per")[0]
        rest = {**LICENCES, **USAGE}[name].partition("; ")[2]
        instant = self._some_instant(20, 40)
        if name in ARREARS:  # what is billed is known by what was said until then
            instant = format_instant(self._now + timedelta(hours=self._chance.randint(1, 900)))
        tiers = self._priced(", ".join(filter(None, (terms, rest))))
        self._say(f"price {name} asks from {instant}: {tiers}")

    # ------------------------------------------------------------------------------------- crashes

    def _doom(self) -> None:
        """The process will be killed at some point of its work, or meet an error there."""
        passes = self._chance.choice((1, 1, 1, 2, 3, 5, 8))
        if self._chance.random() < 0.7:
            point = self._chance.choice(KILLED_AT)
            self._say(f"kill at {point} {1 if point == 'opening' else passes}")
            if point in ("written", "keeping") and self._chance.random() < 0.5:
                self._say("kill at opening 1")
        else:
            point = self._chance.choice(FAILS_AT)
            self._say(f"fail at {point} {passes}")
            if point == "keeping" and self._chance.random() < 0.5:
                self._say("fail at keeping 1")

    # -------------------------------------------------------------------------------------- money

    def _settle(self) -> None:
        """Something that happens to an invoice, if there is such a one."""
        if not self._subscriptions:
            return self._subscribe()
        number, customer = self._chance.randint(1, 3), self._chance.choice(self._customers)
        invoice = f"invoice {number} of {customer}"
        amount = self._chance.choice(("5", "50", "500"))
        self._say(
            self._chance.choice(
                (
                    f"pay {amount} for {invoice}",
                    f"pay {amount} for {invoice}",
                    f"credit {amount} of line {self._chance.randint(1, 2)} of {invoice}",
                    f"void {invoice}",
                    f"write off {invoice}",
                )
            )
        )
        return None

    def _bill_once(self) -> None:
        """A one-off item, or a credit."""
        if self._subscriptions:
            amount = self._chance.choice(("25", "-10", "-400"))
            self._say(f"bill {self._some_subscription()} {amount} for Setup")


WEIGHTS: dict[Callable[[_History], None], int] = {
    _History._take_on: 1,
    _History._rename: 1,
    _History._sell_more: 1,
    _History._subscribe: 5,
    _History._change: 8,
    _History._cancel: 3,
    _History._reactivate: 2,
    _History._hold: 2,
    _History._use: 8,
    _History._send: 4,
    _History._use_again: 5,
    _History._revise: 1,
    _History._doom: 4,
    _History._supersede: 2,
    _History._settle: 7,
    _History._bill_once: 2,
}
"""How often each kind of thing happens."""
