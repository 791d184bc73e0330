"""A server with small limits, against clients that are slow, large, many or silent.

Nothing here measures time: what must be closed is closed before the test gives up waiting.
"""

import threading
from collections.abc import Iterator
from contextlib import ExitStack, suppress
from pathlib import Path

import pytest

from app.settings import Settings
from app.web.deadlines import deadlines
from tests import marks
from tests.app.sockets import READERS, Wire, asking, installed, post
from tests.benchmarks.serving import Server, serving

pytestmark = marks.HTTP

HEAD_BYTES = 4_096
BODY_BYTES = 10_000
CONNECTIONS = 12
ATTEMPTS = 1_000
QUERY = asking("{ ledger { name } }")
DRIP_SECONDS = 0.2
PROCESSES = Path("/proc")


@pytest.fixture(scope="module", params=READERS)
def reader(request: pytest.FixtureRequest) -> str:
    """Each of those who can read requests; what is promised does not depend on them."""
    return installed(request.param)


@pytest.fixture(scope="module")
def strict(tmp_path_factory: pytest.TempPathFactory, reader: str, kept_in: str) -> Iterator[Server]:
    """A server that waits for a second or two only, but for the next request of a connection."""
    with serving(
        tmp_path_factory.mktemp(f"strict-{kept_in}"),
        http=reader,
        header_limit_bytes=HEAD_BYTES,
        header_deadline_seconds=1,
        body_limit_bytes=BODY_BYTES,
        body_idle_seconds=1,
        body_deadline_seconds=2,
        answer_deadline_seconds=1,
        keep_alive_seconds=60,
        connections_limit=CONNECTIONS,
    ) as server:
        yield server


@pytest.fixture(scope="module")
def patient(
    tmp_path_factory: pytest.TempPathFactory, reader: str, kept_in: str
) -> Iterator[Server]:
    """A server that waits for everything but the next request of a connection."""
    with serving(
        tmp_path_factory.mktemp(f"patient-{kept_in}"),
        http=reader,
        header_limit_bytes=HEAD_BYTES,
        header_deadline_seconds=60,
        body_limit_bytes=BODY_BYTES,
        body_idle_seconds=60,
        keep_alive_seconds=1,
        connections_limit=CONNECTIONS,
    ) as server:
        yield server


@pytest.fixture
def wire(strict: Server) -> Iterator[Wire]:
    """A connection to the strict server."""
    with Wire(strict.url) as connection:
        yield connection


@pytest.fixture
def slow_wire(patient: Server) -> Iterator[Wire]:
    """A connection to the patient server."""
    with Wire(patient.url) as connection:
        yield connection


class Dripping:
    """Somebody who sends one byte after the other, until nobody takes them any more."""

    def __init__(self, wire: Wire, drop: bytes) -> None:
        self._ended = threading.Event()
        self._wire, self._drop = wire, drop
        self._thread = threading.Thread(target=self._drip)

    def __enter__(self) -> None:
        self._thread.start()

    def __exit__(self, *_: object) -> None:
        self._ended.set()
        self._thread.join()

    def _drip(self) -> None:
        while not self._ended.wait(DRIP_SECONDS) and self._wire.is_open(self._drop):
            pass


# -------------------------------------------------------------------------------------- the head


def test_who_connects_and_says_nothing_is_let_go(wire: Wire) -> None:
    assert wire.rest() == b""


def test_headers_that_drip_are_a_408(wire: Wire) -> None:
    wire.send(b"GET /livez HTTP/1.1\r\nhost: localhost\r\nx-drip: ")
    with Dripping(wire, b"x"):
        reply = wire.reply()
        assert (reply.status, reply.code) == (408, "REQUEST_TIMEOUT")
        assert reply.headers["connection"] == "close"
        assert wire.rest() == b""


def test_headers_of_a_later_request_have_the_same_deadline(wire: Wire) -> None:
    assert wire.send(post(QUERY)).reply().status == 200
    wire.send(b"GET /livez HTTP/1.1\r\nx-drip: ")
    with Dripping(wire, b"x"):
        assert wire.reply().status == 408
        assert wire.rest() == b""


def test_empty_lines_before_a_request_put_nothing_off(wire: Wire) -> None:
    assert wire.send(post(QUERY)).reply().status == 200
    with Dripping(wire, b"\r\n"):
        assert b" 200 " not in wire.rest()


def test_a_connection_that_waits_for_its_next_request_is_closed(slow_wire: Wire) -> None:
    assert slow_wire.send(post(QUERY)).reply().status == 200
    assert slow_wire.rest() == b""


@pytest.mark.parametrize("pieces", [1, 40])
def test_headers_that_are_too_large_are_a_431_in_one_piece_or_in_many(
    wire: Wire, pieces: int
) -> None:
    head = b"GET /livez HTTP/1.1\r\nhost: localhost\r\nx-large: " + b"x" * HEAD_BYTES + b"\r\n\r\n"
    size = -(-len(head) // pieces)
    for start in range(0, len(head), size):
        wire.is_open(head[start : start + size])
    reply = wire.reply()
    assert (reply.status, reply.code) == (431, "HEADERS_TOO_LARGE")
    assert wire.rest() == b""


def test_an_address_counts_as_well(wire: Wire) -> None:
    reply = wire.send(b"GET /%s HTTP/1.1\r\nhost: localhost\r\n\r\n" % (b"x" * HEAD_BYTES)).reply()
    assert reply.status == 431


def test_headers_that_just_fit_are_read(slow_wire: Wire) -> None:
    head = b"GET /livez HTTP/1.1\r\nhost: localhost\r\nx-large: "
    padding = b"x" * (HEAD_BYTES - len(head) - 10)
    assert slow_wire.send(head + padding + b"\r\n\r\n").reply().status == 200


@pytest.mark.parametrize(
    "nonsense",
    [
        *(b"\x16\x03\x01\x02\x00\x01\x00\r\n\r\n", b"GET\r\n\r\n", b"GET / HTTP\r\n\r\n"),
        *(b"GET / HTTP/1.1\r\n\r\n", b"GET / HTTP/1.1\r\nhost: a\r\nhost: b\r\n\r\n"),
        b"POST / HTTP/1.1\r\nhost: a\r\ncontent-length: -1\r\n\r\n",
        b"POST / HTTP/1.1\r\nhost: a\r\ncontent-length: 1\r\ncontent-length: 2\r\n\r\n",
        b"GET / HTTP/1.1\r\nhost: a\r\nbad name: x\r\n\r\n",
    ],
)
def test_what_is_no_http_is_a_typed_400(wire: Wire, nonsense: bytes) -> None:
    reply = wire.send(nonsense).reply()
    assert (reply.status, reply.code) == (400, "BAD_REQUEST")
    assert reply.headers["connection"] == "close"
    assert wire.rest() == b""


def test_another_transfer_encoding_is_a_501(wire: Wire) -> None:
    head = b"POST /graphql HTTP/1.1\r\nhost: localhost\r\ntransfer-encoding: gzip\r\n\r\n"
    reply = wire.send(head).reply()
    assert (reply.status, reply.code) == (501, "NOT_IMPLEMENTED")


# -------------------------------------------------------------------------------------- the body


@pytest.mark.parametrize("path", ["/graphql", "/v1/usage", "/nothing/here"])
def test_a_body_that_pauses_is_a_408(wire: Wire, path: str) -> None:
    reply = wire.send(post(b"{", path=path, length=100)).reply()
    assert (reply.status, reply.code) == (408, "REQUEST_TIMEOUT")
    assert reply.headers["connection"] == "close"
    assert wire.rest() == b""


@pytest.mark.parametrize("method", ["POST", "GET"])
def test_a_body_that_drips_is_a_408(wire: Wire, method: str) -> None:
    wire.send(post(b"{", length=BODY_BYTES).replace(b"POST", method.encode()))
    with Dripping(wire, b" "):
        reply = wire.reply()
        assert (reply.status, reply.code) == (408, "REQUEST_TIMEOUT")
        assert wire.rest() == b""


def test_a_body_that_is_announced_as_too_large_is_refused_before_any_of_it_came(
    wire: Wire,
) -> None:
    reply = wire.send(post(b"", length=100_000_000)).reply()
    assert (reply.status, reply.code) == (413, "BODY_TOO_LARGE")
    assert wire.rest() == b""


def test_who_asks_before_sending_never_sends_what_is_too_large(wire: Wire) -> None:
    reply = wire.send(post(b"", "expect: 100-continue", length=100_000_000)).reply()
    assert (reply.status, reply.code) == (413, "BODY_TOO_LARGE")


def test_who_asks_before_sending_is_told_to_go_on(slow_wire: Wire) -> None:
    slow_wire.send(post(b"", "expect: 100-continue", length=len(QUERY)))
    slow_wire.continued()
    assert slow_wire.send(QUERY).reply().status == 200


@pytest.mark.skipif(not PROCESSES.exists(), reason="only Linux tells how much memory there was")
def test_a_hundred_megabytes_are_refused_and_kept_nowhere(strict: Server, wire: Wire) -> None:
    before = peak_bytes(strict)
    wire.send(post(b"", length=100_000_000))
    piece = b"x" * 1_000_000
    sent = sum(wire.is_open(piece) for _ in range(100))
    assert wire.reply().status == 413
    assert wire.rest() == b""
    assert peak_bytes(strict) - before < 20_000_000, f"after {sent} MB"


def test_chunks_are_refused_as_soon_as_they_are_too_many(wire: Wire) -> None:
    wire.send(
        b"POST /graphql HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json\r\n"
        b"transfer-encoding: chunked\r\n\r\n"
    )
    chunk = b"3e8\r\n" + b"x" * 1_000 + b"\r\n"
    wire.send(chunk * (BODY_BYTES // 1_000 + 1))  # and more would follow
    reply = wire.reply()
    assert (reply.status, reply.code) == (413, "BODY_TOO_LARGE")
    assert wire.rest() == b""


def test_a_body_in_chunks_is_read(slow_wire: Wire) -> None:
    slow_wire.send(
        b"POST /graphql HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json\r\n"
        b"transfer-encoding: chunked\r\n\r\n%x\r\n%s\r\n" % (len(QUERY), QUERY)
    )
    assert slow_wire.send(b"0\r\n\r\n").reply().status == 200


def test_a_chunk_that_is_none_is_a_400(wire: Wire) -> None:
    wire.send(
        b"POST /graphql HTTP/1.1\r\nhost: a\r\ntransfer-encoding: chunked\r\n\r\nnonsense\r\n"
    )
    assert wire.reply().status == 400
    assert wire.rest() == b""


def test_requests_may_be_sent_without_waiting_for_answers(slow_wire: Wire) -> None:
    slow_wire.send(post(QUERY) * 20)
    assert [slow_wire.reply().status for _ in range(20)] == [200] * 20


def test_what_is_no_request_is_refused_after_those_before_it_are_answered(slow_wire: Wire) -> None:
    slow_wire.send(post(QUERY) * 3 + b"nonsense\r\n\r\n" + post(QUERY))
    assert [slow_wire.reply().status for _ in range(4)] == [200, 200, 200, 400]
    assert slow_wire.rest() == b""


def test_a_body_that_breaks_off_is_refused_after_the_requests_before_it(slow_wire: Wire) -> None:
    broken = b"POST /graphql HTTP/1.1\r\nhost: a\r\ntransfer-encoding: chunked\r\n\r\nnonsense\r\n"
    slow_wire.send(post(QUERY) * 3 + broken)
    assert [slow_wire.reply().status for _ in range(4)] == [200, 200, 200, 400]
    assert slow_wire.rest() == b""


def test_a_request_may_begin_while_another_one_is_answered(slow_wire: Wire) -> None:
    whole = post(QUERY)
    slow_wire.send(whole + whole[:30])
    assert slow_wire.reply().status == 200
    assert slow_wire.send(whole[30:]).reply().status == 200


def test_a_head_that_begins_behind_a_request_has_its_deadline(wire: Wire) -> None:
    wire.send(post(QUERY) + b"GET /livez HTTP/1.1\r\nx-drip: ")
    assert wire.reply().status == 200
    with Dripping(wire, b"x"):
        assert wire.reply().status == 408
        assert wire.rest() == b""


def test_headers_behind_a_body_are_not_those_of_the_request(slow_wire: Wire) -> None:
    head = post(b"").replace(b"content-length: 0", b"transfer-encoding: chunked")
    chunks = b"%x\r\n%b\r\n0\r\n" % (len(QUERY), QUERY)
    slow_wire.send(head + chunks + b"x-request-id: mine\r\n\r\n")
    reply = slow_wire.reply()
    assert (reply.status, reply.headers["x-request-id"][:4]) == (200, "req_")


def test_headers_behind_a_body_that_never_end_are_refused(slow_wire: Wire) -> None:
    head = post(b"").replace(b"content-length: 0", b"transfer-encoding: chunked")
    slow_wire.send(head + b"2\r\n{}\r\n0\r\n")
    while slow_wire.is_open(b"x-more: " + b"x" * 500 + b"\r\n"):
        pass
    assert b" 200 " not in slow_wire.rest()


def test_who_asks_for_another_protocol_is_answered_in_this_one(slow_wire: Wire) -> None:
    asked = post(QUERY, "connection: upgrade", "upgrade: h2c")
    slow_wire.send(asked[:-10])
    slow_wire.send(asked[-10:] + asked + post(QUERY))
    assert [slow_wire.reply().status for _ in range(3)] == [200] * 3


def test_this_is_no_proxy(slow_wire: Wire) -> None:
    reply = slow_wire.send(b"CONNECT here:80 HTTP/1.1\r\nhost: here\r\n\r\n").reply()
    assert 400 <= reply.status < 500


# -------------------------------------------------------------------------------- the connections


def test_one_connection_too_many_is_told_so_and_the_others_go_on(patient: Server) -> None:
    with ExitStack() as stack:
        wires = [stack.enter_context(Wire(patient.url)) for _ in range(CONNECTIONS)]
        for one in wires:  # so that all of them are there
            one.send(post(b"", "expect: 100-continue", length=len(QUERY))).continued()
        with Wire(patient.url) as another:
            reply = another.reply()
            assert (reply.status, reply.code) == (503, "TOO_BUSY")
            assert another.rest() == b""
        for one in wires:
            assert one.send(QUERY).reply().status == 200
    assert_room(patient)


def test_many_silent_connections_keep_nobody_out_for_long(strict: Server) -> None:
    with ExitStack() as stack:
        silent = [stack.enter_context(Wire(strict.url)) for _ in range(CONNECTIONS)]
        for one in silent:
            one.rest()
        assert_room(strict)


def test_who_does_not_take_the_answer_is_let_go(strict: Server, wire: Wire) -> None:
    """Requests without end, whose answers nobody reads, until the server has had enough of it."""
    large = asking("{ __schema { types { name description fields { name description } } } }")
    while wire.is_open(post(large)):
        pass
    assert_room(strict)


def test_whoever_is_installed_reads_the_requests(monkeypatch: pytest.MonkeyPatch) -> None:
    assert deadlines(Settings(http="h11")).__name__ == "H11Deadlines"
    monkeypatch.setattr("app.web.deadlines.find_spec", lambda name: None)
    assert deadlines(Settings()).__name__ == "H11Deadlines"
    with pytest.raises(ValueError, match=r"TALLYBOOK_HTTP: httptools is not installed"):
        deadlines(Settings(http="httptools"))


def test_httptools_reads_the_requests_where_it_is_installed() -> None:
    installed("httptools")
    assert deadlines(Settings()).__name__ == "HttptoolsDeadlines"


def assert_room(server: Server) -> None:
    """The server takes a connection, as soon as it has noticed that others are closed."""
    for _ in range(ATTEMPTS):
        with suppress(ConnectionError), Wire(server.url) as wire:
            if wire.send(post(QUERY)).reply().status == 200:
                return
    raise AssertionError("there was never any room")


def peak_bytes(server: Server) -> int:
    """The most memory that the server has had so far."""
    status = PROCESSES / str(server.process.pid) / "status"
    (line,) = [line for line in status.read_text().splitlines() if line.startswith("VmHWM")]
    return int(line.split()[1]) * 1024
