"""A server that goes away at the worst moment: what it has written is kept, and nothing twice."""

from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest
from eventsourcing.persistence import OperationalError

from app.postgres_store import PostgresStore
from app.store import TakenError
from projections.places import Place
from tests.app.test_store import first_break, identity, pending
from tests.contract.between import Line, line
from tests.contract.test_stores import key
from tests.postgres import Server, running


@pytest.fixture
def between(postgres: Server) -> Iterator[Line]:
    """A line to the server that can be cut."""
    with line(postgres.port) as opened:
        yield opened


def place(server: Server, name: str, port: int | None = None) -> Place:
    """Where the ledger of a test is."""
    return Place.of(server.address(f"lost_{name}", port))


def test_a_commit_of_which_no_answer_came_is_looked_up(
    postgres: Server, between: Line, tmp_path: Path
) -> None:
    with closing(PostgresStore(place(postgres, "answer", between.port), tmp_path)) as store:
        store.append([pending("a")])
        between.cut_after = True
        assert store.append([pending("b"), pending("c")], [identity("r1", 2)]) == [2, 3]
        between.cut_after = True
        assert store.append([], keys=[key("k", 3)]) == []
        assert between.cuts == 2
        assert store.append([pending("d")]) == [4]
        with pytest.raises(TakenError):
            store.append([pending("b")])
        assert [one.stream_id for one in store.read()] == ["a", "b", "c", "d"]
        assert first_break(store) is None


def test_a_commit_that_never_arrived_is_not_taken_for_written(
    postgres: Server, between: Line, tmp_path: Path
) -> None:
    with closing(PostgresStore(place(postgres, "commit", between.port), tmp_path)) as store:
        store.append([pending("a")])
        for events, keys in (([pending("b")], []), ([], [key("k", 1)])):
            between.cut_before = True
            with pytest.raises(OperationalError):
                store.append(events, keys=keys)
        assert between.cuts == 2
        assert (store.head()[0], store.key("k")) == (1, None)
        assert store.append([pending("b")], keys=[key("k", 2)]) == [2]


def test_a_store_outlives_a_restart_of_its_server(tmp_path: Path) -> None:
    with running() as server, closing(PostgresStore(place(server, "restart"), tmp_path)) as store:
        store.append([pending("a")])
        server.stop()
        server.start()
        assert [one.stream_id for one in store.read()] == ["a"]
        with pytest.raises(OperationalError):
            store.append([pending("b")])
        assert store.append([pending("b")]) == [2]
        assert first_break(store) is None
