"""What senders of usage remember: what they sent under each identity, and its first receipt."""

from collections.abc import Container, Sequence

import msgspec

from app.jobs import Receipt
from domain.usage import Identity, RecordInput, Status


class Broken(Exception):
    """A history does not keep what it should; the message says what."""


NEW = (Status.ACCEPTED, Status.UNMATCHED)


class Sent:
    """Everything that was sent so far, with the position of its first receipt."""

    def __init__(self) -> None:
        self.known: dict[Identity, tuple[RecordInput, int]] = {}

    def judge(
        self,
        records: Sequence[RecordInput],
        receipts: Sequence[Receipt],
        there: Container[Identity] = (),
    ) -> list[Receipt]:
        """Hold receipts to what was sent before, and to what was there without being heard of.

        The same content again is a duplicate with the first receipt, other content a conflict. The
        receipts come back as the first answer has them.
        """
        first = dict(self.known)
        answers = []
        for record, receipt in zip(records, receipts, strict=True):
            identity = (record.source, record.id)
            if (receipt.source, receipt.id) != identity:
                raise Broken(f"{record} has the receipt {receipt}")
            if identity in first:
                answers.append(self._again(*first[identity], record, receipt))
                continue
            expected = (Status.DUPLICATE,) if identity in there else NEW
            if receipt.position is None or receipt.status not in expected:
                raise Broken(f"{record} is new: one of {expected}, not {receipt}")
            first[identity] = (record, receipt.position)
            answers.append(_as_first(receipt))
        self.known = first
        return answers

    def _again(
        self, first: RecordInput, position: int, record: RecordInput, receipt: Receipt
    ) -> Receipt:
        """The receipt of a record whose identity is taken."""
        status = Status.DUPLICATE if record == first else Status.CONFLICT
        if (receipt.status, receipt.position) != (status, position):
            raise Broken(f"{record} is a {status} of the one at {position}: {receipt}")
        return receipt


def _as_first(receipt: Receipt) -> Receipt:
    """The receipt that would have been heard first."""
    if receipt.status is not Status.DUPLICATE:
        return receipt
    return msgspec.structs.replace(receipt, status=Status.ACCEPTED)
