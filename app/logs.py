"""What the server says of its own running: one line for each thing, as text or as JSON.

A line has a message that never varies and fields that do, so that a program can count and find
them. No body, header, key or text of a customer's is ever a field.
"""

import asyncio
import logging
import re
import sys
from collections.abc import Mapping
from contextvars import ContextVar
from datetime import UTC, datetime
from enum import StrEnum
from functools import lru_cache
from typing import Any, TextIO

import msgspec

from app.clock import new_id

LEVELS = ("debug", "info", "warning", "error", "critical")
OPERATION_LIMIT = 64
"""The most characters of an operation's name that are told."""

_ID = re.compile(r"[A-Za-z0-9._-]{1,128}")
_PLAIN = re.compile(r"[\w./:{}+-]+", re.ASCII)
_FIELDS = "tallybook_fields"


class LogFormat(StrEnum):
    """How lines are written."""

    TEXT = "text"
    JSON = "json"


class Told(msgspec.Struct):
    """What is known of the request that is being served: its id, and what its line will say."""

    id: str
    notes: dict[str, object] = msgspec.field(default_factory=dict)


_told: ContextVar[Told | None] = ContextVar("told", default=None)


class telling:  # noqa: N801  # it is only ever written behind `with`
    """For as long as the block lasts, one request is served; an id that it came with is kept.

    One that is too long, or has anything in it but letters, digits, `.`, `_` and `-`, is not.
    """

    __slots__ = ("_before", "_told")

    def __init__(self, incoming: str | None) -> None:
        self._told = Told(incoming if incoming and _ID.fullmatch(incoming) else new_id("req"))

    def __enter__(self) -> Told:
        self._before = _told.set(self._told)
        return self._told

    def __exit__(self, *_: object) -> None:
        _told.reset(self._before)


def note(**fields: object) -> None:
    """Add to what the line of this request will say."""
    told = _told.get()
    if told is not None:
        told.notes.update(fields)


def error_id() -> str:
    """The id under which an internal error is logged and shown: that of its request."""
    told = _told.get()
    return told.id if told is not None else new_id("err")


def fields(**named: object) -> dict[str, object]:
    """What varies in a line: `log.info("told", extra=fields(position=1))`."""
    return {_FIELDS: named}


def tell(log: logging.Logger, message: str, **named: object) -> None:
    """Write an ordinary line without asking who called, which costs more than the line."""
    record = logging.LogRecord(log.name, logging.INFO, "", 0, message, (), None)
    record.__dict__[_FIELDS] = named
    log.handle(record)


def set_up(format: LogFormat, level: str, to: TextIO | None = None) -> None:
    """Write the lines of this level and above, also those of libraries, to standard error."""
    # No line of ours names a thread or a process, and to look them up costs as much as the rest.
    logging.logThreads = logging.logProcesses = logging.logMultiprocessing = False
    handler = Lines(to or sys.stderr)
    handler.setFormatter(JsonLines() if format is LogFormat.JSON else TextLines())
    root = logging.getLogger()
    root.handlers = [handler]
    root.setLevel(level.upper())


class Lines(logging.StreamHandler[TextIO]):
    """Writes lines; the ordinary ones of one round of an event loop together.

    A call of the system for each would cost as much as everything else about it. Whatever is worse
    than ordinary is written at once, with all that was said before it.
    """

    def __init__(self, to: TextIO) -> None:
        super().__init__(to)
        self._waiting: list[str] = []
        self._loop: asyncio.AbstractEventLoop | None = None
        """The one that writes what waits when its round is over."""

    def emit(self, record: logging.LogRecord) -> None:
        """Write the line, or let it wait until the end of the round."""
        try:
            self._waiting.append(self.format(record) + self.terminator)
        except Exception:  # noqa: BLE001  # a line that cannot be made is no reason to stop
            self.handleError(record)
        loop = running_loop() if record.levelno <= logging.INFO else None
        if loop is None:
            self.flush()
        elif len(self._waiting) == 1 or loop is not self._loop:
            self._loop = loop
            loop.call_soon(self.flush)

    def flush(self) -> None:
        """Write what waits."""
        self.acquire()
        try:
            waiting, self._waiting = self._waiting, []
            if waiting:
                self.stream.write("".join(waiting))
            super().flush()
        except (OSError, ValueError):
            pass  # nobody reads them any more
        finally:
            self.release()


def running_loop() -> asyncio.AbstractEventLoop | None:
    """The event loop of this thread, if one is running in it."""
    try:
        return asyncio.get_running_loop()
    except RuntimeError:
        return None


class JsonLines(logging.Formatter):
    """Each line is a JSON object."""

    def format(self, record: logging.LogRecord) -> str:
        """The line; what goes wrong while it is made must not hide what it says."""
        line = {
            "at": _at(record),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": _message(record),
            **_named(record),
        }
        if record.exc_info:
            line["exception"] = _writable(self.formatException(record.exc_info))
        return msgspec.json.encode(line, enc_hook=str).decode()


class TextLines(logging.Formatter):
    """Each line begins with when and how bad; its fields follow as `name=value`."""

    def format(self, record: logging.LogRecord) -> str:
        """The line, whose fields cannot make a second one; an exception stands below it."""
        said = [f"{name}={_shown(value)}" for name, value in _named(record).items()]
        head = f"{_at(record)} {record.levelname} {record.name} {_message(record)}"
        line = " ".join([head, *said]).rstrip()
        if record.exc_info:
            return f"{line}\n{_writable(self.formatException(record.exc_info))}"
        return line


def _at(record: logging.LogRecord) -> str:
    """When a line was said."""
    second = int(record.created)
    return f"{_second(second)}.{int((record.created - second) * 1000):03}Z"


def _message(record: logging.LogRecord) -> str:
    """What a line says without its fields."""
    return _clean(record.getMessage())


@lru_cache(maxsize=8)
def _second(since_1970: int) -> str:
    """A second as it is written."""
    return f"{datetime.fromtimestamp(since_1970, UTC):%Y-%m-%dT%H:%M:%S}"


def _named(record: logging.LogRecord) -> Mapping[str, Any]:
    """What varies in this line, the id of the request before all else."""
    told, named = _told.get(), record.__dict__.get(_FIELDS, {})
    said: dict[str, Any] = {} if told is None else {"request_id": _clean(told.id)}
    for name, value in named.items():
        if value is not None:
            said[name] = _clean(value) if isinstance(value, str) else value
    return said


def _clean(text: str) -> str:
    """A text that cannot be taken for two lines, nor break the encoding of one."""
    if text.isascii() and text.isprintable():
        return text
    text = _writable(text)
    return text if text.isprintable() else "".join(c if c.isprintable() else " " for c in text)


def _writable(text: str) -> str:
    """A text that can be written as UTF-8, whatever was in it."""
    return text.encode("utf-8", "backslashreplace").decode()


def _shown(value: object) -> str:
    """A value as it stands in a line of text, in quotes unless it is one plain word."""
    if value.__class__ is int or value.__class__ is float:
        return str(value)
    text = value if value.__class__ is str else str(value)
    if _PLAIN.fullmatch(text):
        return text
    return msgspec.json.encode(_clean(text)).decode()
