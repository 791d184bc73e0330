"""Why a line of an invoice or of a bill says what it says, in words, by the names of the story."""

from collections.abc import Mapping
from textwrap import wrap

from app import explained
from app.local_time import local_text
from app.store import Store
from domain.periods import from_us
from projections.explanations import Explaining, Invoiced
from projections.tables import Views
from projections.usage_records import BEGINNING

WIDTH = 100


def print_why(
    views: Views, store: Store, invoiced: Invoiced, number: int, names: Mapping[str, str]
) -> str:
    """The explanation of a line, with the records that it counts, by these names of ids."""
    explaining = Explaining(views, store.at, invoiced)
    said, index = explaining.statement, number - 1
    zone = said.billed_to.time_zone
    parts, again = explaining.parts(index), explaining.again(index)
    told = [
        *explained.of_parts(parts, said.currency, zone),
        *explained.of_causes(explaining.causes(index), zone),
        *explained.of_again(again, parts, said.currency, zone),
    ]
    with explaining.counted(index) as read:
        records = [
            f"  {local_text(from_us(one.timestamp_us), zone)}  {explained.place(one)}"
            + "".join(f"  {name}={text}" for name, text in sorted(one.properties.items()))
            + (f"  {one.value}" if one.value is not None else "")
            for one in read(BEGINNING)
        ]
    text = "\n".join([*told, *records])
    for id, name in names.items():
        text = text.replace(id, name)
    lines = [part for line in text.splitlines() for part in _wrapped(line)]
    return "".join(f"{line}\n" for line in lines)


def _wrapped(line: str) -> list[str]:
    return (
        wrap(line, WIDTH, subsequent_indent="  ", drop_whitespace=True)
        if line[0] != " "
        else [line]
    )
