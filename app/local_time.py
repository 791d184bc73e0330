"""Instants and periods as a customer reads them: by the calendar of a time zone."""

from datetime import datetime
from zoneinfo import ZoneInfo

from domain.periods import Period


def local_text(instant: datetime | None, zone: str) -> str:
    """The local date, with the time of day where it is not midnight; nothing for no instant.

    >>> from domain.periods import parse_instant
    >>> local_text(parse_instant("2026-02-01T00:30:00Z", ()), "Europe/Berlin")
    '2026-02-01 01:30:00'
    """
    if instant is None:
        return ""
    local = instant.astimezone(ZoneInfo(zone)).replace(tzinfo=None)
    midnight = local.replace(hour=0, minute=0, second=0, microsecond=0)
    if local == midnight:
        return f"{local:%Y-%m-%d}"
    return local.isoformat(" ", "seconds" if not local.microsecond else "microseconds")


def period_text(period: Period, zone: str) -> str:
    """From when to when; one instant where both are the same."""
    start, end = local_text(period.start, zone), local_text(period.end, zone)
    return start if period.start == period.end else f"{start} to {end}"
