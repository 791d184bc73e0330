"""Which tests may open a ledger: told from what their code names, before any of it is run."""

import functools
import inspect
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from types import CodeType, FunctionType, ModuleType
from typing import Any

OURS = "tests."
"""Modules into which the search goes; what lies beyond is named in `OPENERS`."""
OPENERS = frozenset(
    {
        ("app.ledger", "Ledger"),
        ("app.opening", "open_store"),
        ("app.cli", "main"),
        ("app.replay", "replay"),
        ("app.verification", "verify"),
        ("tests.benchmarks.serving", "serving"),
        ("tests.projections.conftest", "book"),
    }
)

_do: dict[int, object] = {}
_not: dict[int, object] = {}


def opens_a_ledger(function: Callable[..., Any], fixtures: Iterable[Callable[..., Any]]) -> bool:
    """Whether a test, or a fixture that it asks for, comes upon something that opens a ledger."""
    return any(_reaches(one) for one in (function, *fixtures))


def _reaches(start: object) -> bool:
    """Follow what is named; what was followed before is known, for modules and fixtures stay."""
    seen: dict[int, object] = {}
    waiting = [start]
    while waiting:
        one = inspect.unwrap(_inner(waiting.pop()))
        if id(one) in seen or id(one) in _not:
            continue
        seen[id(one)] = one
        name = (getattr(one, "__module__", None), getattr(one, "__qualname__", None))
        if id(one) in _do or name in OPENERS:
            _do[id(start)] = start
            return True
        waiting += _named_by(one)
    _not.update(seen)
    return False


def _inner(one: Any) -> Any:
    """The test that Hypothesis runs again and again, or the function of a partial one."""
    found = getattr(one, "hypothesis", None)
    return getattr(found, "inner_test", one) if found else one


def _named_by(one: Any) -> Iterator[Any]:
    """What the code of a function, or of a class, names."""
    match one:
        case FunctionType() if f"{one.__module__}.".startswith(OURS):
            yield from _globals_of(one)
        case type() if f"{one.__module__}.".startswith(OURS):
            yield from one.__mro__[1:]
            yield from vars(one).values()
        case property():
            yield one.fget
        case functools.cached_property():
            yield one.func
        case staticmethod() | classmethod():
            yield one.__func__
        case functools.partial():
            yield one.func
        case list() | tuple() | set() | frozenset():
            yield from (each for each in one if callable(each))
        case dict():
            yield from (each for each in one.values() if callable(each))
        case _:
            return


def _globals_of(function: FunctionType) -> Iterator[Any]:
    names = set(_names(function.__code__))
    for name in names & function.__globals__.keys():
        found = function.__globals__[name]
        if isinstance(found, ModuleType):
            yield from (vars(found)[each] for each in names & vars(found).keys())
        else:
            yield found
    for cell in function.__closure__ or ():
        with suppress(ValueError):  # it is still empty
            yield cell.cell_contents


def _names(code: CodeType) -> Iterator[str]:
    yield from code.co_names
    for constant in code.co_consts:
        if isinstance(constant, CodeType):
            yield from _names(constant)
