"""Send usage records from Python, each counted once: batched, retried, kept on disk in an outage.

This file stands alone: copy it into your program. It needs Python 3.11 and nothing else; a spool
also needs Linux or macOS. How to use it is told in docs/sending.md.

    with Client("http://127.0.0.1:8000", spool=Path("usage.spool")) as client:
        client.record("tokens", "acme", 1200, {"model": "large"})
"""

import atexit
import json
import logging
import os
import secrets
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from decimal import Decimal
from email.utils import parsedate_to_datetime
from http.client import HTTPException
from io import FileIO
from pathlib import Path
from typing import IO, Any
from urllib.error import HTTPError
from urllib.request import HTTPRedirectHandler, Request, build_opener

MOST_RECORDS = 10_000
"""The most records that a server takes in one request."""
RECORD_BYTES = 64 * 1024
"""The longest record; one that a server would accept is shorter."""
MOST_BYTES = 5 * 1024 * 1024 - RECORD_BYTES
"""The most bytes of a batch, so that its last record still fits into the body a server takes."""
REPLY_BYTES = 16 * 1024 * 1024
PROBLEMS_KEPT = 1_000
LOOK_S = 1.0
"""How often a spool is looked at that others may write to, and that others may be sending."""
FIRST_PAUSE_S, LONGEST_PAUSE_S, LONGEST_RETRY_AFTER_S = 0.2, 30.0, 300.0

_VERDICTS = ("accepted", "unmatched", "duplicates", "conflicts", "rejected")
_PARTIAL = (400, 413, 422)
"""What may be answered because of one record, so that the others are sent without it."""
_log = logging.getLogger("tallybook.client")


@dataclass(frozen=True)
class Problem:
    """A record that is not counted as it was sent, and why; `record` is what was sent.

    REJECTED and CONFLICT are verdicts of the server. REFUSED means that it took nothing of a
    request, say because the key is wrong. UNDELIVERED means that the client was closed before.
    """

    record: dict[str, Any]
    status: str
    code: str
    message: str


class _NotTaken(Exception):
    """No verdicts came; `refused` is the status of a server that would refuse the same again."""

    def __init__(self, message: str, refused: int = 0, pause_s: float = 0.0) -> None:
        super().__init__(message)
        self.refused, self.pause_s = refused, pause_s


class Client:
    """A sender of usage records, safe to use from many threads; one for each process is enough.

    `record` only queues; a thread sends a batch when `batch_records` or `batch_bytes` wait, or the
    oldest has waited `max_age_s`. What was not answered is sent again with the same ids, ever more
    slowly. With a `spool`, records go to that file after `patience_s` of failures, when
    `queue_records` wait, and at the end; `durable` puts each there before `record` returns. Without
    one, `record` blocks while the queue is full.
    """

    def __init__(
        self,
        base_url: str,
        key: str | None = None,
        source: str = "default",
        spool: Path | None = None,
        *,
        durable: bool = False,
        on_problem: Callable[[Problem], None] | None = None,
        batch_records: int = 1_000,
        batch_bytes: int = 1_000_000,
        max_age_s: float = 1.0,
        queue_records: int = 10_000,
        patience_s: float = 10.0,
        timeout_s: float = 10.0,
    ) -> None:
        if not base_url.startswith(("http://", "https://")):
            raise ValueError("base_url must begin with http:// or https://")
        if not (1 <= batch_records <= MOST_RECORDS and 1 <= batch_bytes <= MOST_BYTES):
            raise ValueError(f"a batch has 1 to {MOST_RECORDS} records and to {MOST_BYTES} bytes")
        if queue_records < 1 or (durable and spool is None):
            raise ValueError("a queue holds at least 1 record, and a durable client needs a spool")
        self.problems: deque[Problem] = deque(maxlen=PROBLEMS_KEPT)
        self._url, self._timeout_s, self._source = base_url.rstrip("/"), timeout_s, source
        self._headers = {"content-type": "application/x-ndjson", "user-agent": "tallybook-client"}
        if key is not None:
            self._headers["authorization"] = f"Bearer {key}"
        self._opener = build_opener(_NoRedirect)
        self._spool = None if spool is None else _Spool(spool)
        self._durable, self._on_problem = durable, on_problem
        self._batch_records, self._batch_bytes = batch_records, batch_bytes
        self._max_age_s, self._patience_s = max_age_s, patience_s
        self._queue_records = queue_records
        self._changed = threading.Condition()
        self._queue: deque[bytes] = deque()
        self._queue_bytes, self._oldest = 0, 0.0
        self._sending: list[bytes] = []
        self._failures, self._failing_since, self._retry_at = 0, 0.0, 0.0
        self._look_at, self._disk_at = 0.0, 0.0  # when to look at the spool, and write to it, again
        self._flushes, self._closing, self._deadline = 0, False, 0.0
        self._process = os.getpid()
        self._thread = threading.Thread(target=self._run, name="tallybook-client", daemon=True)
        self._thread.start()
        atexit.register(self.close)

    def __enter__(self) -> "Client":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def record(
        self,
        event_name: str,
        customer: str,
        value: str | int | Decimal | None = None,
        properties: Mapping[str, str | int | Decimal] | None = None,
        timestamp: datetime | str | None = None,
        id: str | None = None,
    ) -> str:
        """Queue something that was used, now unless `timestamp` says when; return the record's id.

        Raises `TypeError` for a float, which is not exact, `ValueError` for a time without a zone,
        `RuntimeError` after `close`, and `OSError` when it has to go to disk and cannot.
        """
        said: dict[str, Any] = {"id": _new_id() if id is None else id, "source": self._source}
        said |= {"eventName": event_name, "customer": customer, "timestamp": _instant(timestamp)}
        if value is not None:
            said["value"] = _plain(value, "value")
        if properties:
            said["properties"] = {n: _plain(v, f"properties.{n}") for n, v in properties.items()}
        line = json.dumps(said, separators=(",", ":")).encode() + b"\n"
        if len(line) > RECORD_BYTES:
            raise ValueError(f"a record has at most {RECORD_BYTES} bytes, not {len(line)}")
        if os.getpid() != self._process:
            raise RuntimeError("this client was made before a fork; make one in each process")
        with self._changed:
            while self._spool is None and self._is_full() and not self._closing:
                self._changed.wait()
            if self._closing:
                raise RuntimeError("the client is closed")
            if not self._durable and not self._is_full():
                self._enqueue(line)
                return str(said["id"])
        if self._spool is not None:
            self._spool.append([line])  # not under the lock: the disk is slow
        with self._changed:
            self._changed.notify_all()
        return str(said["id"])

    def flush(self, timeout: float | None = None) -> bool:
        """Send what waits, on disk too; whether all of it was answered before the time was over."""
        end = None if timeout is None else time.monotonic() + timeout
        with self._changed:
            self._flushes += 1
            self._look_at = 0.0
            self._changed.notify_all()
            try:
                while self._in_memory() or (self._spool is not None and self._spool.waiting()):
                    left = LOOK_S if end is None else end - time.monotonic()
                    if left <= 0 or not self._thread.is_alive():
                        return False
                    self._changed.wait(min(left, LOOK_S / 10))
            finally:
                self._flushes -= 1
        return True

    def close(self, timeout: float = 10.0) -> None:
        """Send what waits; what is left then goes to the spool, or else to the problems."""
        if os.getpid() != self._process:
            return  # the records are those of the process that queued them
        with self._changed:
            if not self._closing:
                self._closing, self._deadline = True, time.monotonic() + timeout
            self._changed.notify_all()
        self._thread.join(max(0.0, self._deadline - time.monotonic()) + LOOK_S)
        atexit.unregister(self.close)
        if self._spool is not None:
            try:
                self._keep(self._spool)
            except OSError as error:
                _log.warning("the spool cannot be written: %r", error)
        with self._changed:
            left, self._sending = self._in_memory(), []
            self._queue.clear()
        self._report(left, "UNDELIVERED", "CLOSED", "no answer came before the client closed")

    # ------------------------------------------------------------------------ the sending thread

    def _run(self) -> None:
        """Send whatever is due, until the client is closed."""
        while True:
            with self._changed:
                while (pause_s := self._pause_s()) > 0:
                    self._changed.wait(pause_s)
                if self._closing and self._is_over():
                    break
            try:
                self._step()
            except Exception as error:  # noqa: BLE001  # a full disk, say: the sender goes on
                self._fail(_NotTaken(repr(error)))
        if self._spool is not None:
            self._spool.leave()

    def _step(self) -> None:
        """Keep on disk what waits too long, or send one batch: what is on disk goes first."""
        now, spool = time.monotonic(), self._spool
        if spool is not None and self._is_down():
            try:
                self._keep(spool)
            except OSError as error:  # a full disk, say: then it stays in memory, and is sent
                self._disk_at = now + LOOK_S
                _log.warning("the spool cannot be written: %r", error)
        if now < self._retry_at:
            return
        if not self._sending and spool is not None and now >= self._look_at and spool.waiting():
            lines = spool.head(self._batch_records, self._batch_bytes)
            if not lines:
                self._look_at = now + LOOK_S  # another process sends it
            elif self._deliver(lines):
                spool.advance()
            return
        with self._changed:
            if not self._sending and self._due_s(now) <= 0:
                self._take()
            sending = self._sending
        if sending and self._deliver(sending):
            with self._changed:
                self._sending = []
                self._changed.notify_all()

    def _keep(self, spool: "_Spool") -> None:
        """Move what waits in memory to the disk. Raises `OSError`, and then it still waits."""
        with self._changed:
            if waiting := self._in_memory():
                spool.append(waiting)
            self._sending, self._queue_bytes = [], 0
            self._queue.clear()
            self._changed.notify_all()

    def _deliver(self, lines: Sequence[bytes]) -> bool:
        """Send a batch; whether it is done with. Bisects a batch that is refused for one record."""
        try:
            self._heed(lines, self._post(lines))
        except _NotTaken as failure:
            refused = failure.refused
            if refused in _PARTIAL and len(lines) > 1:
                half = len(lines) // 2
                return self._deliver(lines[:half]) and self._deliver(lines[half:])
            if not refused or (refused not in _PARTIAL and self._spool is not None):
                self._fail(failure)
                return False
            self._report(lines, "REFUSED", f"HTTP_{refused}", str(failure))
        self._failures, self._retry_at = 0, 0.0
        return True

    def _post(self, lines: Sequence[bytes]) -> dict[str, Any]:
        """One request, and the server's answer. Raises `_NotTaken`."""
        limit_s = self._timeout_s
        if self._closing:
            limit_s = max(0.1, min(limit_s, self._deadline - time.monotonic()))
        request = Request(f"{self._url}/v1/usage", b"".join(lines), self._headers)
        try:
            with self._opener.open(request, timeout=limit_s) as reply:
                answer = json.loads(reply.read(REPLY_BYTES))
            judged = sum(answer[verdict] for verdict in _VERDICTS)
        except HTTPError as error:
            said = b""
            with error, suppress(OSError, HTTPException):
                said = error.read(500)
            again = error.code in (408, 425, 429) or error.code >= 500
            pause_s = _asked_pause_s(error.headers["retry-after"])
            message = f"{self._url} answered {error.code}: {said.decode(errors='replace')}"
            raise _NotTaken(message, 0 if again else error.code, pause_s) from None
        except (OSError, HTTPException, ValueError, LookupError, TypeError) as error:
            raise _NotTaken(f"{self._url}: {error!r}") from None
        if judged != len(lines):
            raise _NotTaken(f"{self._url} judged {judged} records, not {len(lines)}")
        return dict(answer)

    def _heed(self, lines: Sequence[bytes], answer: dict[str, Any]) -> None:
        """Report each record of a batch that the server did not write."""
        for found in answer.get("problems", ()):
            line = lines[found["index"]]
            self._report([line], found["status"], found["code"], found["message"])

    def _report(self, lines: Sequence[bytes], status: str, code: str, message: str) -> None:
        """Keep a problem of each record, and tell whoever wants to know."""
        for line in lines:
            problem = Problem(_read(line), status, code, message)
            self.problems.append(problem)
            if self._on_problem is None:
                _log.warning("%s %s: %s", status, problem.record.get("id"), message)
                continue
            try:
                self._on_problem(problem)
            except Exception:  # noqa: BLE001 - whatever the listener does
                _log.exception("the listener failed at %s", problem)

    def _fail(self, failure: _NotTaken) -> None:
        """Pause before the next attempt, ever longer, by chance, and as long as the server asks."""
        now = time.monotonic()
        if not self._failures:
            self._failing_since = now
            _log.warning("usage waits: %s", failure)
        if failure.refused:
            self._failing_since = now - self._patience_s  # waiting will not help
        pause_s = min(LONGEST_PAUSE_S, FIRST_PAUSE_S * 2 ** min(self._failures, 20))
        pause_s *= (500 + secrets.randbelow(501)) / 1_000
        self._failures += 1
        self._retry_at = now + max(pause_s, failure.pause_s)

    # ------------------------------------------------------------------- what waits, and how long

    def _pause_s(self) -> float:
        """How long the thread has nothing to do."""
        now = time.monotonic()
        waits = [LOOK_S]
        if self._closing:
            waits.append(0 if self._is_over() else self._deadline - now)
        if self._sending:
            waits.append(self._retry_at - now)
        elif self._queue:
            due_s = self._due_s(now)
            waits.append(due_s if self._is_down() else max(due_s, self._retry_at - now))
        if self._spool is not None and self._spool.waiting():
            waits.append(max(self._look_at, self._retry_at) - now)
        return min(waits)

    def _due_s(self, now: float) -> float:
        """In how many seconds the queue is to be sent."""
        enough = len(self._queue) >= self._batch_records or self._queue_bytes >= self._batch_bytes
        if not self._queue or enough or self._flushes or self._closing:
            return 0.0 if self._queue else LOOK_S
        return self._oldest + self._max_age_s - now

    def _is_down(self) -> bool:
        """Whether sending has failed for so long that records are better kept on disk."""
        now = time.monotonic()
        is_failing = self._failures > 0 and now - self._failing_since >= self._patience_s
        return is_failing and self._spool is not None and now >= self._disk_at

    def _is_over(self) -> bool:
        """Whether a client that is closed has nothing to send, or no time, or nobody to send to."""
        now = time.monotonic()
        on_disk = self._spool is not None and self._spool.waiting() and self._look_at <= now
        return not (self._in_memory() or on_disk) or now >= self._deadline or self._is_down()

    def _is_full(self) -> bool:
        return len(self._queue) + len(self._sending) >= self._queue_records

    def _in_memory(self) -> list[bytes]:
        return [*self._sending, *self._queue]

    def _enqueue(self, line: bytes) -> None:
        if not self._queue:
            self._oldest = time.monotonic()
        self._queue.append(line)
        self._queue_bytes += len(line)
        if len(self._queue) in (1, self._batch_records) or self._queue_bytes >= self._batch_bytes:
            self._changed.notify_all()

    def _take(self) -> None:
        """Take one batch out of the queue; the rest is due as if it had just come."""
        size = 0
        while self._queue and len(self._sending) < self._batch_records and size < self._batch_bytes:
            self._sending.append(self._queue.popleft())
            size += len(self._sending[-1])
        self._queue_bytes -= size
        self._oldest = time.monotonic()
        self._changed.notify_all()


class _Spool:
    """Records on disk, one a line: every process may append, one at a time sends them.

    The file is locked only while it is read or written. Who sends holds the `.lock` beside it, and
    empties the file when all is sent. The system lets go of both when a process is killed; the next
    one begins at the first line, and what was sent before is a duplicate then, and counts once.
    """

    def __init__(self, path: Path) -> None:
        import fcntl  # not on Windows, where a client works without a spool

        self._lock = fcntl.flock
        self._all, self._now = fcntl.LOCK_EX, fcntl.LOCK_EX | fcntl.LOCK_NB
        self._path = path
        self._turn: IO[bytes] | None = None
        self._sent = self._read = 0
        with self._alone():
            folder = os.open(path.parent, os.O_RDONLY)
            try:
                os.fsync(folder)  # or a new file could be gone after a power cut, with all in it
            finally:
                os.close(folder)

    @contextmanager
    def _alone(self) -> Iterator[FileIO]:
        with self._path.open("a+b", buffering=0) as file:
            self._lock(file, self._all)
            yield file

    def append(self, lines: Sequence[bytes]) -> None:
        """Put lines at the end, on disk when it returns. Raises `OSError`, and keeps none."""
        with self._alone() as file:
            end = file.seek(0, os.SEEK_END)
            file.seek(max(0, end - 1))
            is_torn = file.read(1) not in (b"", b"\n")  # somebody was killed while writing
            rest = memoryview(b"\n" * is_torn + b"".join(lines))
            try:
                while rest:
                    rest = rest[file.write(rest) :]
                os.fsync(file.fileno())
            except OSError:
                file.truncate(end)
                raise

    def waiting(self) -> bool:
        """Whether there is anything that this process has not sent."""
        try:
            return self._path.stat().st_size > self._sent
        except FileNotFoundError:
            return False

    def head(self, records: int, size: int) -> list[bytes]:
        """The first lines not sent yet; none when it is another process's turn to send."""
        if self._turn is None:
            turn = Path(f"{self._path}.lock").open("ab")  # noqa: SIM115 - held while it sends
            try:
                self._lock(turn, self._now)
            except OSError:
                turn.close()
                return []
            self._turn = turn
        with self._alone() as file:
            file.seek(self._sent)
            chunk = file.read(max(size, RECORD_BYTES))
        whole, _, torn = chunk.rpartition(b"\n")
        lines = (whole or torn).split(b"\n")[:records]
        self._read = self._sent + sum(len(line) + 1 for line in lines)
        # A torn line is sent too: the server refuses it by itself, and so it is reported.
        return [(line.replace(b"\r", b" ").strip() or b"{}") + b"\n" for line in lines]

    def advance(self) -> None:
        """Go on behind the head; at the end the file is emptied, and others have their turn."""
        self._sent = self._read
        with self._alone() as file:
            if self._sent >= file.seek(0, os.SEEK_END):
                file.truncate(0)
                self.leave()

    def leave(self) -> None:
        """Let others have their turn, from the first line that is left."""
        if self._turn is not None:
            self._turn.close()
        self._turn, self._sent = None, 0


class _NoRedirect(HTTPRedirectHandler):
    """A key is for the server it was given for, and nobody else."""

    def redirect_request(self, *_: object) -> None:
        """Follow nobody; the answer is then a refusal."""


class _Ids:
    """UUIDs of version 7 (RFC 9562), each greater than the one before it in this process."""

    def __init__(self) -> None:
        self._lock, self._last = threading.Lock(), 0

    def next(self) -> str:
        """The next id: 48 bits of milliseconds and 74 by chance, or a little more than the last."""
        with self._lock:
            drawn = time.time_ns() // 1_000_000 << 74 | secrets.randbits(74)
            self._last = max(drawn, self._last + 1 + secrets.randbits(32))
            number = self._last
        high, low = number >> 62 & 0xFFF, number & (1 << 62) - 1
        text = f"{number >> 74 << 80 | 7 << 76 | high << 64 | 2 << 62 | low:032x}"
        return "-".join((text[:8], text[8:12], text[12:16], text[16:20], text[20:]))


_new_id = _Ids().next


def _plain(number: object, name: str) -> str:
    """A text, or a number as exact decimal text."""
    if isinstance(number, Decimal) and number.is_finite():
        return format(number, "f")
    if isinstance(number, str) or (isinstance(number, int) and not isinstance(number, bool)):
        return str(number)
    raise TypeError(
        f"{name} must be str, int or a finite Decimal, not {number!r}: it must be exact"
    )


def _instant(timestamp: datetime | str | None) -> str:
    """An instant as the server reads it; now if there is none."""
    if isinstance(timestamp, str):
        return timestamp
    at = datetime.now(UTC) if timestamp is None else timestamp
    if at.tzinfo is None:
        raise ValueError("timestamp must have a time zone, such as datetime.now(UTC)")
    return at.astimezone(UTC).isoformat().replace("+00:00", "Z")


def _asked_pause_s(retry_after: str | None) -> float:
    """How long a server asks to be left alone, by seconds or by a date."""
    pause_s = 0.0
    if retry_after is not None and retry_after.strip().isdecimal():
        pause_s = float(retry_after)
    elif retry_after is not None:
        with suppress(ValueError, TypeError):
            pause_s = parsedate_to_datetime(retry_after).timestamp() - time.time()
    return min(max(pause_s, 0.0), LONGEST_RETRY_AFTER_S)


def _read(line: bytes) -> dict[str, Any]:
    """What a line says, or the line itself when it is torn."""
    with suppress(ValueError):
        said = json.loads(line)
        if isinstance(said, dict):
            return said
    return {"line": line.decode(errors="replace")}
