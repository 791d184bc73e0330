"""Four processes serve one ledger, and are treated badly: nothing is lost, nothing doubled."""

from collections import Counter
from collections.abc import Iterator

import pytest

from tests.contract import fleet as fleets
from tests.contract.fleet import (
    Client,
    Fleet,
    dropped_commits,
    fleet,
    killed,
    restarted,
    same_ids,
)


@pytest.fixture(scope="module")
def several() -> Iterator[Fleet]:
    """Four servers, all started at once on a ledger that nobody had begun."""
    with fleet() as started:
        yield started


def test_all_clients_send_the_same_records(several: Fleet) -> None:
    clients = same_ids(several, 1_000, 250)
    counted = sum((one.counted for one in clients), Counter[str]())
    assert counted == {"accepted": 1_000, "duplicates": 31_000}


def test_what_one_process_answered_the_others_see(several: Fleet) -> None:
    for number in range(8):
        client = Client(several, number)
        position = client.send([f"seen-{number}"])
        assert client.sees(position) >= position
        client.close()


def test_answers_to_commits_are_dropped(several: Fleet) -> None:
    before = several.between.cuts
    dropped_commits(several, 12)
    assert several.between.cuts == before + 12


def test_a_process_is_killed_in_the_middle(several: Fleet) -> None:
    killed(several, 400, 50)
    assert len({server.process.pid for server in several.servers}) == fleets.PROCESSES


def test_the_database_restarts_under_load(several: Fleet) -> None:
    refused = restarted(several, 8, 20)
    assert set(refused) <= fleets.MAY_BE_SENT_AGAIN
