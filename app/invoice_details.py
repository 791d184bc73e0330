"""Why each line of an invoice says what it says, folded away on its page until somebody asks.

Nothing here walks all records of a line: the page shows the first of them, and `tallybook explain`
all.
"""

from collections.abc import Sequence
from html import escape
from itertools import islice

from app import explained
from app.local_time import local_text
from app.sent_records import SentRecords
from domain.periods import from_us
from projections.explanations import Explaining
from projections.usage_records import BEGINNING, Listed

FIRST_RECORDS = 10
LINES_UNFOLDED = 100
"""Lines beyond these are explained by the command alone."""


class Details:
    """Unfolds the lines of one invoice."""

    def __init__(self, explaining: Explaining, sent: SentRecords) -> None:
        self._explaining = explaining
        self._sent = sent

    def of(self, index: int) -> str:
        """What stands behind a line, as a part of the page."""
        if index >= LINES_UNFOLDED:
            return ""
        said = self._explaining.statement
        parts = self._explaining.parts(index)
        zone = said.billed_to.time_zone
        sentences = (
            *explained.of_parts(parts, said.currency, zone),
            *explained.of_causes(self._explaining.causes(index), zone),
        )
        with self._explaining.counted(index) as read:
            records = list(islice(read(BEGINNING), FIRST_RECORDS + 1))
        told = "".join(f"<li>{escape(sentence)}</li>" for sentence in sentences)
        return f"<details><summary>Why</summary><ul>{told}</ul>{self._records(records)}</details>"

    def _records(self, records: Sequence[Listed]) -> str:
        """The first records behind a line, each with where the ledger holds it."""
        if not records:
            return ""
        rows = "\n".join(map(self._record, records[:FIRST_RECORDS]))
        more = len(records) > FIRST_RECORDS
        caption = f"The first {FIRST_RECORDS} usage records" if more else "Its usage records"
        head = "".join(f"<th>{name}</th>" for name in ("Used", "Record", "Says", "Stands at"))
        return (
            f"<table><caption>{caption}</caption><thead><tr>{head}</tr></thead>"
            f"<tbody>{rows}</tbody></table>"
        )

    def _record(self, record: Listed) -> str:
        sent = self._sent.at(record.position, record.row)
        zone = self._explaining.statement.billed_to.time_zone
        cells = (
            local_text(from_us(record.timestamp_us), zone),
            sent.record.id,
            explained.says(record),
            f"{explained.place(record)}, event {sent.hash.hex()}",
        )
        return "<tr>" + "".join(f"<td>{escape(cell)}</td>" for cell in cells) + "</tr>"
