"""A data directory with two ledgers, served with keys to both."""

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import httpx
import msgspec

from app import server_secret
from app.clock import SystemClock
from app.control import MAIN, Control, note_ledger, place
from app.keyring import make_key
from app.keys import Rates, Scope
from app.ledger import Ledger
from app.opening import Home
from app.served import ServedDirectory
from app.settings import Auth, Settings
from tests.app.http import Talking

OTHER = "other"
CLOCK = datetime(2026, 1, 15, 12, tzinfo=UTC)


class Keyed:
    """Clients of one server, each with a key of its own."""

    def __init__(
        self, served: ServedDirectory, settings: Settings, runner: "asyncio.Runner"
    ) -> None:
        self.served = served
        self.settings = settings
        self._talking = Talking(served, settings, runner.run)

    def key(self, *scopes: Scope, ledger: str = MAIN, rates: Rates | None = None) -> str:
        """A new key with these scopes; with all of them when none is named."""
        with Control(self.settings.data) as control:
            _, text = make_key(
                control,
                server_secret.read(self.settings),
                ledger=ledger,
                name="a test",
                scopes=frozenset(scopes or {Scope.ADMIN}),
                at=SystemClock().now(),
                rates=rates,
            )
        return text

    def request(self, method: str, path: str, key: str | None, **more: Any) -> httpx.Response:
        """One request with a key, or without."""
        headers = dict(more.pop("headers", {}))
        if key is not None:
            headers["authorization"] = f"Bearer {key}"
        return self._talking.request(method, path, headers=headers, **more)

    def ask(self, key: str | None, query: str, **variables: Any) -> httpx.Response:
        """One GraphQL operation."""
        content = {"query": query, "variables": variables}
        return self.request("POST", "/graphql", key, json=content)

    def data(self, key: str, query: str, **variables: Any) -> Any:
        """The data of an answer without errors."""
        answer = self.ask(key, query, **variables).json()
        assert "errors" not in answer, answer
        return answer["data"]


@contextmanager
def keyed(data: Path, **settings: Any) -> Iterator[Keyed]:
    """Two ledgers, `main` and `other`, served to whoever has a key."""
    note_ledger(data, OTHER)
    for name in (MAIN, OTHER):
        Ledger(place(data, name), name=name, test_clock_at=CLOCK).close()
    with serving_directory(Settings(**{"data": data, "auth": Auth.KEYS, **settings})) as served:
        yield served


@contextmanager
def serving_directory(settings: Settings) -> Iterator[Keyed]:
    """Every ledger of a data directory, served as the settings say."""

    def opened(home: Home, name: str) -> Ledger:
        return Ledger(home.directory, place=home.place, name=name)

    with ServedDirectory(settings, opened) as served, asyncio.Runner() as runner:
        yield Keyed(served, settings, runner)


def error(answer: httpx.Response) -> tuple[int, str]:
    """The status and the code of a refusal, however it is shaped."""
    content = msgspec.json.decode(answer.content)
    if "errors" in content:
        return answer.status_code, content["errors"][0]["extensions"]["code"]
    found = content.get("error", content)
    return answer.status_code, found["code"] if isinstance(found, dict) else found
