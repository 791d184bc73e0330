"""The store keeps the same promises in a file and in PostgreSQL."""

from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path

import pytest

from app.chain import GENESIS, chain_hash
from app.identities import IdentityRow, IdentityRun
from app.lock import LedgerInUse
from app.postgres_store import PostgresStore
from app.store import PAGE_EVENTS, CorruptLedger, KeyRow, Store, TakenError
from domain.usage import Prior
from projections.places import Place
from tests.app.test_store import UUID, first_break, identity, pending
from tests.postgres import Server, numbers

Open = Callable[..., Store]
"""Opens the same store each time, `exclusive` or not."""

_numbers = numbers()


@pytest.fixture(params=["file", "postgres"])
def opened(request: pytest.FixtureRequest, tmp_path: Path) -> Open:
    """How the store of this test is opened."""
    if request.param == "file":
        return lambda exclusive=True: Store(tmp_path, exclusive=exclusive)
    server: Server = request.getfixturevalue("postgres")
    place = Place.of(server.address(f"store_{next(_numbers)}"))
    return lambda exclusive=True: PostgresStore(place, tmp_path, exclusive=exclusive)


@pytest.fixture
def store(opened: Open) -> Iterator[Store]:
    """An empty store."""
    with closing(opened()) as empty:
        yield empty


def test_an_empty_ledger_has_the_genesis_hash(store: Store) -> None:
    assert store.head() == (0, GENESIS)
    assert list(store.read()) == []
    assert list(store.stored()) == []
    assert store.at(1) is None


def test_positions_count_from_one_without_a_hole(store: Store) -> None:
    assert store.append([pending("a"), pending("b")]) == [1, 2]
    assert store.append([pending("c")]) == [3]
    assert [(one.position, one.stream_id) for one in store.read()] == [
        (1, "a"),
        (2, "b"),
        (3, "c"),
    ]


def test_what_failed_leaves_no_hole_and_nothing_else(store: Store) -> None:
    store.append([pending("a")])
    for _ in range(3):
        with pytest.raises(TakenError):
            store.append([pending("b"), pending("a")], [identity("r1", 2)], [key("k", 3)])
    assert (store.identity("default", "r1"), store.key("k")) == (None, None)
    assert store.append([pending("b")]) == [2]
    assert first_break(store) is None


def test_an_event_comes_back_with_its_envelope_and_its_bytes(store: Store) -> None:
    events = [pending("a"), pending("a", version=2)]
    store.append(events)
    found = store.at(2)
    assert found is not None
    assert (found.stream_id, found.stream_version) == ("a", 2)
    assert (found.envelope, found.event) == (events[1].envelope, events[1].event)
    expected = [store._mapper.to_stored_event(event) for event in events]
    assert [one[1].state for one in store.stored()] == [one.state for one in expected]


def test_reading_turns_its_pages(store: Store) -> None:
    names = [f"s{number:04}" for number in range(2 * PAGE_EVENTS + 1)]
    store.append([pending(name) for name in names])
    assert [one.stream_id for one in store.read()] == names
    assert next(store.read(after=PAGE_EVENTS)).position == PAGE_EVENTS + 1
    assert [one.position for one in store.read(3, stop=5)] == [4, 5]
    assert [size[0] for size in store.sizes(1)] == list(range(2, len(names) + 1))
    assert first_break(store) is None


def test_the_head_is_the_hash_of_everything(store: Store) -> None:
    store.append([pending("a"), pending("b")])
    [(_, first, _), (_, second, _)] = store.stored()
    head = chain_hash(chain_hash(GENESIS, first), second)
    assert store.head() == (2, head)
    assert store.hashes([1, 2, 3]) == {1: chain_hash(GENESIS, first), 2: head}
    assert store.hashes([]) == {}


@pytest.mark.parametrize("id", ["order-17", UUID, UUID.upper(), UUID.replace("-", ""), "ü🦙"])
def test_an_identity_comes_back_as_it_was_written(store: Store, id: str) -> None:
    store.append([pending("a")], [identity(id)])
    assert store.identity("default", id) == (1, 0)
    assert store.recorded([("default", id), ("other", id), ("default", "absent")]) == {
        ("default", id): Prior(1, b"digest of " + id.encode())
    }


def test_the_bytes_of_a_uuid_are_no_text(store: Store) -> None:
    text = bytes.fromhex(UUID.replace("-", ""))[:4].hex() + "0" * 4
    uuid = "-".join((text.encode().hex()[:8], *("3030",) * 3, "303030303030"))
    spelt = bytes.fromhex(uuid.replace("-", "")).decode()
    store.append([pending("a")], [identity(uuid), identity(spelt)])
    found = store.recorded([("default", uuid), ("default", spelt)])
    assert sorted(id for _, id in found) == sorted([uuid, spelt])


def test_an_identity_is_taken_once_in_its_source(store: Store) -> None:
    store.append([pending("a")], [identity("r1")])
    before = (list(store.stored()), store.head())
    with pytest.raises(TakenError):
        store.append([pending("b")], [identity("r0", 2), identity("r1", 2)], [])
    assert (list(store.stored()), store.head()) == before
    assert store.identity("default", "r0") is None
    assert store.append([pending("b")], [identity("r1", 2, "gateway")]) == [2]
    assert store.identity("gateway", "r1") == (2, 0)


def test_many_identities_are_found_again(store: Store) -> None:
    ids = [f"r{number}" for number in range(1_001)]
    store.append([pending("a")], [identity(id) for id in ids])
    assert len(store.recorded([("default", id) for id in ids])) == len(ids)
    assert store.recorded([]) == {}


def test_a_run_of_identities_is_kept_as_its_rows_are(store: Store) -> None:
    ids = [f"0192f0c1-0000-7000-8000-{number * 7919 % 1000:012x}" for number in range(1_000)]
    run = IdentityRun("gateway", 1, bytes.fromhex("".join(ids).replace("-", "")), b"a digest")
    store.append([pending("a")], [run, identity("r1")])
    assert store.identity("gateway", ids[7]) == (1, 7)
    found = store.recorded([("gateway", id) for id in ids])
    assert [found["gateway", id] for id in ids] == [Prior(1, b"a digest")] * len(ids)
    with pytest.raises(TakenError):
        store.append([pending("b")], [run._replace(position=2)])
    assert store.head()[0] == 1


def key(name: str, position: int, digest: bytes = b"digest") -> KeyRow:
    """An idempotency key."""
    return KeyRow(name, digest, "prod_1", position)


def test_an_idempotency_key_is_taken_once(store: Store) -> None:
    store.append([pending("a")], keys=[key("once", 1)])
    assert (store.key("once"), store.key("twice")) == (key("once", 1), None)
    with pytest.raises(TakenError):
        store.append([pending("b")], keys=[key("once", 2, b"other")])
    assert (store.head()[0], store.key("once")) == (1, key("once", 1))


def test_a_key_may_come_without_an_event(store: Store) -> None:
    store.append([pending("a")])
    assert store.append([], keys=[key("idle", 1)]) == []
    assert store.key("idle") == key("idle", 1)


def test_events_of_many_megabytes_are_one_transaction(store: Store) -> None:
    names = ["a", "b", "c", "d", "e", "f"]
    events = [pending(f"{name}{'x' * 1_000_000}") for name in names]
    for event, name in zip(events, names, strict=True):
        event.originator_id = name
    assert store.append(events) == [1, 2, 3, 4, 5, 6]
    assert first_break(store) is None


def test_readers_cannot_write(store: Store) -> None:
    with pytest.raises(CorruptLedger, match=r"read-?only"):
        store.select("DELETE FROM event_hashes RETURNING position")


def test_a_log_is_taken_over_byte_for_byte(store: Store, tmp_path: Path) -> None:
    with closing(Store(tmp_path / "other")) as other:
        other.append([pending(name) for name in "abc"], [identity("r1"), identity(UUID)])
        taken = [stored for _, stored, _ in other.stored()]
        store.take(taken, [identity("r1"), identity(UUID)], [])
        assert store.head() == other.head()
        assert list(store.stored()) == list(other.stored())


def test_a_ledger_is_opened_again_as_it_was_left(opened: Open) -> None:
    with closing(opened()) as store:
        store.append([pending("a"), pending("b")], [identity("r1")])
        before = (list(store.stored()), store.head())
    with closing(opened()) as store:
        assert (list(store.stored()), store.head()) == before
        assert store.append([pending("c")]) == [3]


def test_a_second_holder_of_files_is_refused(tmp_path: Path) -> None:
    with closing(Store(tmp_path)) as store:
        with pytest.raises(LedgerInUse, match="is in use by another tallybook process"):
            Store(tmp_path)
        with closing(Store(tmp_path, exclusive=False)) as reader:
            assert reader.head() == store.head()


def test_two_who_write_to_postgres_take_turns(postgres: Server, tmp_path: Path) -> None:
    place = Place.of(postgres.address(f"store_{next(_numbers)}"))
    with (
        closing(PostgresStore(place, tmp_path)) as one,
        closing(PostgresStore(place, tmp_path)) as b,
    ):
        assert [one.append([pending("a")]), b.append([pending("b")])] == [[1], [2]]
        with pytest.raises(TakenError):
            one.append([pending("b")])
        assert one.append([pending("c"), pending("d")]) == [3, 4]
        assert (first_break(one), b.head()) == (None, one.head())


def test_a_log_with_a_hole_is_not_continued(store: Store) -> None:
    store.append([pending("a"), pending("b")])
    with store._writing.datastore.transaction(commit=True) as cursor:
        cursor.execute("DELETE FROM event_hashes WHERE position=2")
    with pytest.raises(CorruptLedger, match="event 3 would follow 1: the log has a hole"):
        store.append([pending("c")])
    assert store.at(3) is None


def test_identities_name_their_place(store: Store) -> None:
    row = IdentityRow("default", "r7", 1, 7, b"d")
    store.append([pending("a")], [row])
    assert store.identity("default", "r7") == (1, 7)
