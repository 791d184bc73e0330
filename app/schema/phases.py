"""The phases of a request, and what extensions do around each, for next to nothing.

Strawberry asks at each phase of each request of what kind the hooks of its extensions are, and
piles them up on a stack of exits: a third of all that is done for a small query. The answer is
always the same, so here it is asked once.
"""

import inspect
from collections.abc import Callable, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager, contextmanager
from functools import cache
from types import TracebackType
from typing import Any

from strawberry.extensions import SchemaExtension
from strawberry.extensions.runner import SchemaExtensionsRunner

Hook = Callable[[SchemaExtension], Any]
"""What an extension does around a phase."""


class Phases(SchemaExtensionsRunner):
    """What the extensions of one request do around its phases."""

    def operation(self) -> Any:
        """Around all of it."""
        return Phase(self.extensions, "on_operation")

    def parsing(self) -> Any:
        """Around the parsing of its document."""
        return Phase(self.extensions, "on_parse")

    def validation(self) -> Any:
        """Around the validation of its document."""
        return Phase(self.extensions, "on_validate")

    def executing(self) -> Any:
        """Around its execution."""
        return Phase(self.extensions, "on_execute")


class Phase(AbstractAsyncContextManager[None]):
    """What extensions do around one phase of one request: the first is the outermost."""

    def __init__(self, extensions: Sequence[SchemaExtension], name: str) -> None:
        self._extensions = extensions
        self._name = name
        self._open: list[tuple[Any, bool]] = []

    async def __aenter__(self) -> None:
        for extension in self._extensions:
            own = getattr(extension.__class__, self._name)
            if own is getattr(SchemaExtension, self._name):
                continue
            opens, waits = _opening(own)
            around = opens(extension)
            if waits:
                await around.__aenter__()
            else:
                around.__enter__()
            self._open.append((around, waits))

    async def __aexit__(
        self,
        type: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """Close what is open; an error that one of them raises goes to those around it."""
        found = error
        while self._open:
            around, waits = self._open.pop()
            told = (found and found.__class__, found, found and found.__traceback__)
            try:
                if waits:
                    await around.__aexit__(*told)
                else:
                    around.__exit__(*told)
            except BaseException as raised:  # noqa: BLE001  # it is raised in the end
                found = raised
        if found is not None and found is not error:
            raise found


@cache
def _opening(hook: Hook) -> tuple[Hook, bool]:
    """What opens a hook of an extension, and whether that may wait."""
    if inspect.isasyncgenfunction(hook):
        return asynccontextmanager(hook), True
    assert inspect.isgeneratorfunction(hook), f"{hook.__qualname__} does not yield"
    return contextmanager(hook), False
