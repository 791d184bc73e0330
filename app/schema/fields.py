"""Computed fields and mutations, with the types that strawberry's decorators would lose."""

from collections.abc import Callable
from typing import Any, TypeVar, cast

import strawberry

F = TypeVar("F", bound=Callable[..., Any])


def resolver(*, description: str) -> Callable[[F], F]:
    """Answer a field by this function."""
    return cast("Callable[[F], F]", strawberry.field(description=description))


def mutation(*, description: str) -> Callable[[F], F]:
    """Carry out a mutation by this function."""
    return cast("Callable[[F], F]", strawberry.mutation(description=description))
