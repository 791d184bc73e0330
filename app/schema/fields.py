"""Computed fields, mutations and optional inputs, typed as strawberry would not by itself."""

from collections.abc import Callable
from typing import Any, TypeVar, cast

import strawberry
from msgspec import UNSET
from strawberry import Some

F = TypeVar("F", bound=Callable[..., Any])


def resolver(*, description: str) -> Callable[[F], F]:
    """Answer a field by this function."""
    return cast("Callable[[F], F]", strawberry.field(description=description))


def mutation(*, description: str) -> Callable[[F], F]:
    """Carry out a mutation by this function."""
    return cast("Callable[[F], F]", strawberry.mutation(description=description))


def subscription(*, description: str) -> Callable[[F], F]:
    """Answer a field again and again by what this function makes."""
    return cast("Callable[[F], F]", strawberry.subscription(description=description))


def wanted(given: Some[Any] | None) -> Any:
    """What an update asks a field to become; msgspec's UNSET when it was left out."""
    return UNSET if given is None else given.value
