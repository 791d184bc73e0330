"""Which of a meter's usage a price bills: only records with certain dimension values."""

from collections.abc import Sequence

import msgspec

from domain.decider import Code, Path, Rejected
from domain.text import VALUE_BYTES, check_text

FILTER_VALUES_LIMIT = 100


class DimensionFilter(msgspec.Struct, frozen=True, kw_only=True):
    """Only usage whose dimension `name` has one of `values`."""

    name: str
    values: tuple[str, ...]


def check_filter(filters: Sequence[DimensionFilter], dimensions: Sequence[str], path: Path) -> None:
    """Accept filters of dimensions that the meter declares, each once. Raises `Rejected`."""
    seen: set[str] = set()
    for index, wanted in enumerate(filters):
        here = (*path, str(index))
        if wanted.name not in dimensions:
            message = f"the meter declares no dimension {wanted.name}"
            raise Rejected(Code.INVALID_VALUE, (*here, "name"), message)
        if wanted.name in seen:
            message = f"dimension {wanted.name} is filtered twice; list its values together"
            raise Rejected(Code.INVALID_VALUE, (*here, "name"), message)
        seen.add(wanted.name)
        _check_values(wanted, (*here, "values"))


def _check_values(wanted: DimensionFilter, path: Path) -> None:
    """A filter that names no value would never bill anything."""
    if not wanted.values:
        raise Rejected(Code.REQUIRED, path, "name at least one value")
    if len(wanted.values) > FILTER_VALUES_LIMIT:
        message = f"a filter lists at most {FILTER_VALUES_LIMIT} values"
        raise Rejected(Code.LIMIT_EXCEEDED, path, message)
    for index, value in enumerate(wanted.values):
        check_text(value, (*path, str(index)), VALUE_BYTES)
