"""What goes on for each ledger while it is served: due work, checkpoints, and telling of facts.

Ledgers that are made while the server runs are noticed, and get the same. Views that somebody
rebuilt are taken over.
"""

import asyncio
import logging
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from datetime import timedelta
from typing import TYPE_CHECKING

from app import checkpoints, replay
from app.ledger import Ledger
from app.read_only import Onlooker
from app.served import Served
from app.webhooks import Delivery, Hook
from app.worker import Worker

if TYPE_CHECKING:
    from app.postgres_following import Follower

LOOK_AGAIN_SECONDS = 1
"""How soon a ledger is served that was just made."""
NOTE_USES_EVERY = 60
"""After so many looks it is kept when keys were last used."""

_log = logging.getLogger("tallybook.server")


class Living:
    """Everything that goes on for the ledgers of one server, by the name of each."""

    def __init__(self, served: Served, hook: Hook | None, between_checkpoints: timedelta) -> None:
        self.deliveries: dict[Ledger, Delivery] = {}
        """Who tells of the facts of a ledger."""
        self._served = served
        self._hook = hook
        self._between_checkpoints = between_checkpoints
        self._alive: set[str] = set()

    @asynccontextmanager
    async def going_on(self) -> AsyncIterator[None]:
        """For as long as it serves."""
        async with AsyncExitStack() as stack:
            await self._begin(stack)
            if self._served.keyring is None:  # a ledger by itself, and nobody makes another one
                yield
                return
            looking = asyncio.create_task(self._keep_looking(stack))
            try:
                yield
            finally:
                looking.cancel()
                await asyncio.gather(looking, return_exceptions=True)
                await asyncio.to_thread(self._note_uses)

    async def _begin(self, stack: AsyncExitStack) -> None:
        """Let it go on for the ledgers for which it does not yet."""
        for name, ledger in list(self._served.ledgers.items()):
            if name not in self._alive:
                self._alive.add(name)
                await stack.enter_async_context(self._on_duty(ledger))

    async def _keep_looking(self, stack: AsyncExitStack) -> None:
        """Notice new ledgers, and now and then keep when keys were used."""
        looks = 0
        while True:
            await asyncio.sleep(LOOK_AGAIN_SECONDS)
            looks += 1
            try:
                await asyncio.to_thread(self._served.open_others)
                await self._begin(stack)
                if looks % NOTE_USES_EVERY == 0:
                    await asyncio.to_thread(self._note_uses)
            except Exception:  # noqa: BLE001 - whatever it is, what goes on must go on
                _log.exception("the control database cannot be read or written; it is tried again")

    def _note_uses(self) -> None:
        if self._served.keyring is not None:
            self._served.keyring.note_uses()

    @asynccontextmanager
    async def _on_duty(self, ledger: Ledger) -> AsyncIterator[None]:
        """All of it, by one process: where there may be several, by the one that has the duty."""
        if isinstance(ledger.follower, Onlooker):
            yield  # whoever writes it does all that
            return
        if ledger.follower is None:
            async with self._telling(ledger), self._working(ledger):
                yield
            return
        task = asyncio.create_task(self._by_turns(ledger, ledger.follower))
        try:
            yield
        finally:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)

    async def _by_turns(self, ledger: Ledger, follower: "Follower") -> None:
        """Do it while this process has the duty, which may come and go."""
        while True:
            await follower.duty(held=True)
            _log.info("this process does what falls due in %s", ledger.place)
            try:
                async with self._telling(ledger), self._working(ledger):
                    await follower.duty(held=False)
            except Exception:  # noqa: BLE001 - whatever it is, what goes on must go on
                _log.exception("what goes on in %s ended; it is begun again", ledger.place)
                await asyncio.sleep(LOOK_AGAIN_SECONDS)

    @asynccontextmanager
    async def _telling(self, ledger: Ledger) -> AsyncIterator[None]:
        """Whoever wants to be told is told, also what a test clock brings about."""
        hook = self._hook
        if hook is not None and ledger.state.forked_from is not None:
            _log.warning("nobody is told of what happens in a fork: the webhook is left alone")
            hook = None
        if hook is None:
            yield
            return
        delivery = await asyncio.to_thread(Delivery, ledger, hook)
        self.deliveries[ledger] = delivery
        delivery.start()
        try:
            yield
        finally:
            del self.deliveries[ledger]
            await asyncio.to_thread(delivery.stop)

    @asynccontextmanager
    async def _working(self, ledger: Ledger) -> AsyncIterator[None]:
        """What falls due is done by itself; a test clock waits to be moved."""
        work = [replay.keep_taking_over(ledger)] if ledger.place is None else []
        if every := self._between_checkpoints:
            work.append(checkpoints.keep_noting(ledger.store, ledger.directory, every))
        if not ledger.clock.is_test:
            work.append(Worker(ledger).run())
        tasks = [asyncio.create_task(one) for one in work]
        try:
            yield
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
