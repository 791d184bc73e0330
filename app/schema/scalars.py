"""The values of the API: numbers and instants are texts both ways, so that no digit is lost.

What a client sends stays the text it sent; the domain reads it and names the place when it cannot.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import datetime
from decimal import Decimal
from enum import Enum
from fractions import Fraction
from typing import Any, NewType

import msgspec
import strawberry
from graphql import GraphQLError, StringValueNode, ValueNode
from strawberry.types.enum import StrawberryEnumDefinition
from strawberry.types.scalar import ScalarDefinition

from domain import periods
from domain.decider import Event, Path
from domain.money import Number, format_decimal, format_money
from domain.periods import check_period, format_instant, from_us, parse_instant

DecimalText = NewType("DecimalText", str)
InstantText = NewType("InstantText", str)
BigIntText = NewType("BigIntText", str)
Currency = NewType("Currency", str)
Json = NewType("Json", object)


Read = Callable[[object], str]


def _text(name: str, example: str) -> Read:
    """Reads the scalar as the text that was sent; a JSON number could already have lost digits."""

    def read(value: object) -> str:
        if not isinstance(value, str):
            raise GraphQLError(f'{name} must be a string such as "{example}"')
        return value

    return read


def _integer(value: object) -> str:
    """Reads a big integer, which is a string of digits."""
    text = _text("BigInt", "42")(value)
    if not (text.isascii() and text.removeprefix("-").isdigit() and len(text) <= 20):
        raise GraphQLError('BigInt must be a string of digits such as "42"')
    return text


def _scalar(name: str, description: str, read: Read) -> ScalarDefinition:
    """A scalar that is a text both ways."""

    def read_literal(node: ValueNode, _: object = None) -> str:
        try:
            return read(node.value if isinstance(node, StringValueNode) else None)
        except GraphQLError as error:
            raise GraphQLError(error.message, node) from None

    return strawberry.scalar(
        name=name,
        description=description,
        serialize=str,
        parse_value=read,
        parse_literal=read_literal,
    )


SCALARS: Mapping[object, ScalarDefinition] = {
    DecimalText: _scalar(
        "Decimal",
        'An exact plain decimal as a string, such as "0.04"; never a JSON number.',
        _text("Decimal", "0.04"),
    ),
    InstantText: _scalar(
        "DateTime",
        "An instant as an RFC 3339 string: with an offset on input, in UTC with Z on output.",
        _text("DateTime", "2026-01-31T12:00:00Z"),
    ),
    BigIntText: _scalar(
        "BigInt",
        "A whole number of any size as a string: ledger positions and counts.",
        _integer,
    ),
    Currency: _scalar(
        "CurrencyCode",
        "An ISO 4217 currency code in capitals, such as USD.",
        _text("CurrencyCode", "USD"),
    ),
    Json: strawberry.scalar(
        name="JSON",
        description="Any JSON value. Numbers that are billed are written in it as strings.",
        serialize=lambda value: value,
        parse_value=lambda value: value,
    ),
}
"""Our own scalars by the Python type that stands for each in the schema."""


def decimal_text(number: Number) -> DecimalText:
    """A number as it is printed."""
    return DecimalText(format_decimal(number))


def optional_decimal(number: Number | None) -> DecimalText | None:
    """A number as it is printed, if there is one."""
    return None if number is None else decimal_text(number)


def instant_text(instant: datetime) -> InstantText:
    """An instant as it is printed."""
    return InstantText(format_instant(instant))


def optional_instant_text(instant: datetime | None) -> InstantText | None:
    """An instant as it is printed, if there is one."""
    return None if instant is None else instant_text(instant)


def optional_instant(text: InstantText | None, path: Path) -> datetime | None:
    """Read an instant that may be left out. Raises `Rejected` at `path`."""
    return None if text is None else parse_instant(text, path)


def big_int(number: int) -> BigIntText:
    """A ledger position or a count as it is printed."""
    return BigIntText(str(number))


def described(
    kind: type[Enum], description: str, *, name: str | None = None, **values: str
) -> None:
    """Show an enum of the domain in the schema, each value with its description."""
    strawberry.enum(kind, name=name, description=description)
    definition: StrawberryEnumDefinition = vars(kind)["__strawberry_definition__"]
    for value in definition.values:
        value.description = values[value.name]


def as_json(value: object) -> Any:
    """What the domain holds as JSON: names in camel case, decimals and instants as strings.

    The keys of an object that a client sent are left as they are.

    >>> from domain.pricing import PerUnit
    >>> as_json(PerUnit(unit_amount=Decimal("0.04")))
    {'model': 'perUnit', 'unitAmount': '0.04'}
    """
    match value:
        case msgspec.Struct():
            return dict(_fields(value))
        case Mapping():
            return {str(key): as_json(part) for key, part in value.items()}
        case Decimal() | Fraction():
            return format_decimal(value)
        case datetime():
            return format_instant(value)
        case Enum():
            return value.value
        case str() | bytes():
            return value if isinstance(value, str) else value.hex()
        case Sequence():
            return [as_json(part) for part in value]
        case _:
            return value


def _fields(struct: msgspec.Struct) -> Iterable[tuple[str, Any]]:
    """The fields of a struct by their names in the API, its tag first."""
    config = struct.__struct_config__
    if config.tag is not None:
        yield str(config.tag_field), camel(str(config.tag))
    parts = struct.parts if isinstance(struct, Event) else ()
    for name in parts or struct.__struct_fields__:
        part = getattr(struct, name)
        if name.endswith("_us"):
            yield camel(name.removesuffix("_us")), format_instant(from_us(part))
        elif part is not msgspec.UNSET:
            yield camel(name), as_json(part)


def camel(name: str) -> str:
    """A field's name as clients see it.

    >>> camel("unit_amount")
    'unitAmount'
    """
    first, *rest = name.split("_")
    return first + "".join(word.capitalize() for word in rest)


@strawberry.type(description="An amount in one currency.")
class Money:
    """An amount in one currency."""

    amount: DecimalText = strawberry.field(
        description="The amount in major units, with the digits of its currency."
    )
    currency: Currency = strawberry.field(description="The currency of the amount.")


def money(amount: Decimal, currency: str) -> Money:
    """An amount that can be paid, as it is printed."""
    return Money(amount=DecimalText(format_money(amount, currency)), currency=Currency(currency))


@strawberry.type(description="A stretch of time: the start belongs to it, the end does not.")
class Period:
    """A stretch of time as it is shown."""

    start: InstantText = strawberry.field(description="The first instant of the period.")
    end: InstantText = strawberry.field(description="The first instant after the period.")

    @classmethod
    def of(cls, period: periods.Period) -> "Period":
        """The period as it is shown."""
        return cls(start=instant_text(period.start), end=instant_text(period.end))


@strawberry.input(description="A stretch of time: the start belongs to it, the end does not.")
class PeriodInput:
    """A stretch of time as a client asks for it."""

    start: InstantText = strawberry.field(description="The first instant of the period.")
    end: InstantText = strawberry.field(description="The first instant after the period.")

    def read(self, path: Path) -> periods.Period:
        """The period that is meant. Raises `Rejected` naming the end that is wrong."""
        start = parse_instant(self.start, (*path, "start"))
        return check_period(start, parse_instant(self.end, (*path, "end")), path)
