"""Usage records offered in any shape: each is judged by itself, and what became of all is told.

Whatever shape a record is sent in, it takes the way of the mutation `recordUsage`: the same
command, the same identities, the same verdicts. A shape only says how its fields are called.
"""

import re
from collections.abc import Callable, Mapping, Sequence

import msgspec

from app.jobs import READ_ONLY, Busy, Closed, ReadOnly, Receipt
from app.ledger import Ledger
from app.logs import note
from app.receipts import Written
from domain.decider import Code, Path, Rejected
from domain.usage import RecordInput, Status
from projections.places import Unreachable

RECORDS_LIMIT = 10_000
RETRY_AFTER_SECONDS = "1"
UNREADABLE = (msgspec.DecodeError, UnicodeDecodeError, RecursionError)
"""What decoding raises for a text that is no JSON, or not of the type that is expected."""

_CONFLICT = "this id was recorded before with other content; the first one stands"
_MISSING = re.compile(r"missing required field `(\w+)`")
_WRONG = re.compile(r"Expected `([^`]+)`, got `([^`]+)` - at `\$\.(\w+)`")

Names = Mapping[str, Path]
"""Where a shape has the fields of a record, for those that it calls otherwise than we do."""
Offered = RecordInput | Rejected
"""A record as it is offered, or why it cannot even be read."""


class Refused(Exception):
    """A request that cannot be served as a whole: nothing of it was written."""

    def __init__(
        self, status: int, code: str, message: str, headers: Mapping[str, str] | None = None
    ) -> None:
        super().__init__(message)
        self.status = status
        self.code = code
        self.message = message
        self.headers = dict(headers or {})


class Problem(msgspec.Struct, frozen=True):
    """A record that was not written, by its place in the request."""

    index: int
    status: Status
    code: str
    message: str
    path: tuple[str, ...] = ()


class Judged(msgspec.Struct, frozen=True):
    """What became of each record, the problems in the order of the request, the newest position."""

    statuses: Sequence[Status]
    problems: Sequence[Problem]
    position: int


async def judge(
    ledger: Ledger, offered: Sequence[Offered], actor: str, names: Names | None = None
) -> Judged:
    """Record what can be recorded and say what became of each. Raises `Refused`.

    Problems name a field as the sender does, by `names`.
    """
    records: Sequence[RecordInput] = [one for one in offered if isinstance(one, RecordInput)]
    try:
        receipts = await ledger.recording(records, actor) if records else []
    except Busy:
        headers = {"retry-after": RETRY_AFTER_SECONDS}
        message = "too many requests wait; nothing was written"
        raise Refused(429, "TOO_BUSY", message, headers) from None
    except Unreachable:
        raise away() from None
    except ReadOnly:
        raise Refused(503, "READ_ONLY", READ_ONLY) from None
    except Closed:
        message = "the server is stopping; nothing was written"
        raise Refused(503, "SHUTTING_DOWN", message) from None
    if isinstance(receipts, Written) and len(receipts) == len(offered):
        note(position=receipts.newest)
        return Judged(receipts.statuses, [], receipts.newest)
    statuses, problems = list[Status](), list[Problem]()
    given = iter(receipts)
    for index, one in enumerate(offered):
        status, error = (
            (Status.REJECTED, one)
            if isinstance(one, Rejected)
            else _verdict(next(given), names or {})
        )
        statuses.append(status)
        if error is not None:
            problems.append(Problem(index, status, error.code, error.message, error.path))
    position = max((receipt.position or 0 for receipt in receipts), default=0)
    note(position=position or None)
    ledger.writer.measures.unreadable(len(offered) - len(records))
    return Judged(statuses, problems, position or ledger.store.head()[0])


def away() -> Refused:
    """The refusal while the database is away: what was sent may be sent again."""
    message = "the database does not answer; send it again"
    return Refused(503, "UNAVAILABLE", message, {"retry-after": RETRY_AFTER_SECONDS})


def _verdict(receipt: Receipt, names: Names) -> tuple[Status, Rejected | None]:
    """What became of a record that could be read, and what is wrong with it."""
    error = receipt.error
    if receipt.status is Status.CONFLICT:
        error = Rejected(Code.CONFLICT, ("id",), _CONFLICT)
    return receipt.status, None if error is None else renamed(error, names)


def each(
    read: Callable[[bytes], RecordInput], parts: Sequence[bytes | msgspec.Raw]
) -> list[Offered]:
    """Read the records one by one: one that cannot be read is nobody else's failure.

    Raises `Refused` when there are too many, before it reads any.
    """
    if len(parts) > RECORDS_LIMIT:
        raise Refused(413, Code.LIMIT_EXCEEDED, f"send at most {RECORDS_LIMIT} records at once")
    return [reading(read, part) for part in parts]


def reading(read: Callable[[bytes], RecordInput], part: bytes | msgspec.Raw) -> Offered:
    """Read one record."""
    try:
        return read(bytes(part))
    except UNREADABLE as error:
        return undecodable(error)
    except Rejected as refusal:
        return refusal


def undecodable(error: Exception) -> Rejected:
    """Why a record is refused that is no JSON, or whose fields are missing or of the wrong type."""
    text = str(error)
    missing = _MISSING.search(text)
    if missing:
        field = missing[1]
        return Rejected(Code.REQUIRED, (field,), f"{field} is required")
    wrong = _WRONG.search(text)
    if wrong:
        expected, got, field = wrong.groups()
        message = f"{field} must be a string, not {got}"
        if expected.startswith("object"):
            message = f"{field} must be an object of strings, not {got}"
        elif field == "value":
            message = f'value must be a decimal string such as "0.04", not {got}'
        return Rejected(Code.INVALID_VALUE, (field,), message)
    message = f"the record cannot be read: {text.replace('`', '')}"
    return Rejected(Code.INVALID_VALUE, (), message)


def renamed(error: Rejected, names: Names) -> Rejected:
    """A refusal that names the field as its sender does.

    >>> renamed(Rejected(Code.REQUIRED, ("customer",), "customer is required"),
    ...         {"customer": ("subject",)})
    Rejected(REQUIRED, subject, 'subject is required')
    """
    if not error.path or error.path[0] not in names:
        return error
    path = (*names[error.path[0]], *error.path[1:])
    message = error.message
    for ours in (".".join(error.path), error.path[-1]):
        if message.startswith(f"{ours} "):
            message = ".".join(path) + message.removeprefix(ours)
            break
    return Rejected(error.code, path, message)
