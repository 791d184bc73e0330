"""Given what happened, when this is asked for, then that happens: decisions as tests read them.

>>> from domain.products import CreateProduct, Facts, ProductCreated
>>> from domain.periods import EPOCH
>>> facts = Facts(id="prod_1", at=EPOCH)
>>> created = ProductCreated(
...     id="prod_1", name="Tokens", description=None, unit_label=None, created_at=EPOCH
... )
>>> given().when(CreateProduct(name="Tokens"), facts).then(created)
>>> given(created).when(CreateProduct(name="Tokens"), facts).then()
>>> given().when(CreateProduct(name=""), facts).then_rejected("REQUIRED", "input.name")

The aggregate is the module that the command comes from. `domain.usage` has no state to fold: what
the ledger already holds is among its facts, and each record has a verdict of its own.
"""

import sys
from collections.abc import Sequence
from types import ModuleType
from typing import Any

import pytest

from domain.decider import Event, Rejected, fold
from domain.usage import Decided, Verdict


class Decision:
    """What came of a command: facts, or a refusal."""

    def __init__(
        self, module: ModuleType, history: Sequence[Event], command: Any, facts: Any
    ) -> None:
        self._module = module
        self._history = history
        self._command = command
        self._facts = facts

    def then(self, *events: Event) -> None:
        """Exactly these facts are written, and nothing more when the same is asked again."""
        decided = self._decide(self._history)
        assert decided == list(events)
        if not isinstance(self._decided(self._history), Decided):
            assert self._decide([*self._history, *decided]) == []

    def then_rejected(self, code: str, path: str) -> None:
        """The command is refused for this reason at this place in the input, in words."""
        with pytest.raises(Rejected) as refused:
            self._decide(self._history)
        refusal = refused.value
        assert (refusal.code, ".".join(refusal.path)) == (code, path)
        assert refusal.message

    @property
    def verdicts(self) -> list[Verdict]:
        """The answer to each usage record, in the order offered."""
        decided = self._decided(self._history)
        assert isinstance(decided, Decided), "only usage is answered record by record"
        return decided.verdicts

    def then_answered(self, *answers: str) -> None:
        """Each usage record got this status; a refusal says `REJECTED CODE path`."""
        assert [_answer(verdict) for verdict in self.verdicts] == list(answers)

    def _decide(self, history: Sequence[Event]) -> list[Event]:
        decided = self._decided(history)
        return list(decided.events) if isinstance(decided, Decided) else decided

    def _decided(self, history: Sequence[Event]) -> Any:
        if not hasattr(self._module, "evolve"):
            return self._module.decide(self._command, self._facts)
        state = fold(self._module.evolve, history)
        return self._module.decide(state, self._command, self._facts)


class Given:
    """What happened before."""

    def __init__(self, history: Sequence[Event]) -> None:
        self._history = history

    def when(self, command: Any, facts: Any) -> Decision:
        """This is asked for, with these facts from outside."""
        return Decision(sys.modules[type(command).__module__], self._history, command, facts)


def given(*events: Event) -> Given:
    """These facts stand in the stream, in this order."""
    return Given(events)


def _answer(verdict: Verdict) -> str:
    if verdict.error is None:
        return verdict.status
    return f"{verdict.status} {verdict.error.code} {'.'.join(verdict.error.path)}"
