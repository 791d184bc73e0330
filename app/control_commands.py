"""The commands `tallybook ledger` and `tallybook key`: what they ask for, do and say.

Both work beside a running server, which notices what they change.
"""

import argparse
from collections.abc import Callable, Sequence
from datetime import datetime, timedelta
from pathlib import Path

import msgspec

from app import server_secret
from app.clock import SystemClock
from app.control import FILE, MAIN, Control, note_ledger, place
from app.keyring import make_key, replace_key
from app.keys import Key, Rates, Scope
from app.ledger import Ledger
from app.new_directories import check_finished
from app.opening import LOG, is_there, open_store
from app.settings import Settings
from domain.periods import format_instant, from_us, parse_instant, to_us
from projections.places import Place

_TITLES = ("ID", "LEDGER", "LABEL", "SCOPES", "STATE", "CREATED", "EXPIRES", "LAST USED")

OVERLAP = "P7D"
"""How long a key that is replaced goes on, when nothing else is said."""


class Said(msgspec.Struct, frozen=True):
    """What a command says: its result, and what people want to know beside it."""

    out: list[str]
    aside: list[str] = []


def add_ledger_parser(ledger: argparse.ArgumentParser) -> None:
    """What `tallybook ledger` asks for."""
    actions = ledger.add_subparsers(dest="action", required=True)
    create = actions.add_parser("create", help="begin a ledger of its own in the data directory")
    create.add_argument("new_ledger", metavar="NAME", help="a-z, 0-9 and -")
    create.add_argument("--test-clock", help="instant at which its test clock stands")
    for action in (create, actions.add_parser("list", help="say which ledgers there are")):
        action.add_argument("--data", type=Path, help="directory of the ledgers")


def add_key_parser(key: argparse.ArgumentParser) -> None:
    """What `tallybook key` asks for."""
    actions = key.add_subparsers(dest="action", required=True)
    create = actions.add_parser("create", help="make a key for one ledger, and show it once")
    create.add_argument(
        "--scope",
        action="append",
        type=Scope,
        choices=list(Scope),
        metavar="SCOPE",
        help=f"what it allows, as often as needed: {', '.join(Scope)}",
    )
    create.add_argument("--label", default="", help="what it is for, or who has it")
    create.add_argument("--expires", help="instant, or how long it is good for, such as P90D")
    create.add_argument("--replaces", metavar="KEY_ID", help="the key in whose place it comes")
    create.add_argument(
        "--overlap", default=OVERLAP, help=f"how long the replaced key goes on (default {OVERLAP})"
    )
    for option, what in (
        ("--requests", "requests per second in the long run"),
        ("--requests-burst", "requests at once"),
        ("--cost", "GraphQL cost per second in the long run"),
        ("--cost-burst", "GraphQL cost at once"),
    ):
        create.add_argument(
            option, type=int, metavar="N", help=f"{what}; else as the server has it"
        )
    listing = actions.add_parser("list", help="say which keys there are, never the keys themselves")
    for action in (create, listing):
        action.add_argument("--ledger", help="name of its ledger (default main)")
    revoke = actions.add_parser("revoke", help="let a key open nothing from now on")
    revoke.add_argument("key_id", metavar="KEY_ID", help="the key's id, as the list shows it")
    for action in (create, listing, revoke):
        action.add_argument("--data", type=Path, help="directory of the ledgers")


def run(settings: Settings, parsed: argparse.Namespace) -> Said:
    """Carry a command out. Raises what the command line says in words."""
    return _ACTIONS[parsed.command, parsed.action](settings, parsed)


# ------------------------------------------------------------------------------------------ ledgers


def _create_ledger(settings: Settings, parsed: argparse.Namespace) -> Said:
    """Begin the ledger, and only then note it: whoever serves the directory finds it whole."""
    name: str = parsed.new_ledger
    directory = place(settings.data, name)
    text = settings.test_clock
    clock_at = parse_instant(text, ("test-clock",)) if text else None
    check_finished(directory)
    where = _place(settings, name)
    if name == MAIN and is_there(directory, where):
        raise ValueError(f"there is a ledger {name} in {where or settings.data} already")
    with Control(settings.data) as control:
        if name in {row.name for row in control.ledgers()} - {MAIN}:
            raise ValueError(f"there is a ledger {name} in {settings.data} already")
        with Ledger(directory, place=where, name=name, test_clock_at=clock_at) as ledger:
            id = ledger.state.id
    note_ledger(settings.data, name)
    return Said([f"{name}: {id} in {where or directory}"])


def _list_ledgers(settings: Settings, parsed: argparse.Namespace) -> Said:
    _existing(settings)
    rows: list[tuple[str, ...]] = [("NAME", "DIRECTORY", "KEYS", "POSITION")]
    at_us = to_us(SystemClock().now())
    with Control(settings.data) as control:
        live = [key.ledger for key in control.every_key() if key.live(at_us)]
        for row in control.ledgers():
            directory = settings.data / row.address
            keys = str(live.count(row.name))
            where = _place(settings, row.name)
            rows.append((row.name, str(where or directory), keys, _head(directory, where)))
    return Said(_columns(rows))


def _head(directory: Path, where: Place | None) -> str:
    """How far a ledger is; nothing for one that was never begun."""
    if not is_there(directory, where):
        return "-"
    store = open_store(directory, where, exclusive=False)
    try:
        return str(store.head()[0])
    finally:
        store.close()


def _place(settings: Settings, name: str) -> Place | None:
    """Where in a database a ledger is: the one that the settings are about may be in one."""
    return settings.place if name == settings.ledger else None


# --------------------------------------------------------------------------------------------- keys


def _create_key(settings: Settings, parsed: argparse.Namespace) -> Said:
    _existing(settings)
    now = SystemClock().now()
    expires_at = _until(parsed.expires, now, "expires") if parsed.expires else None
    with Control(settings.data) as control:
        secret = server_secret.read(settings)
        if parsed.replaces is not None:
            if parsed.scope or parsed.ledger:
                raise ValueError("a key that replaces another one has its ledger and its scopes")
            ends_at = _until(parsed.overlap, now, "overlap")
            key, text = replace_key(
                control, secret, parsed.replaces, at=now, ends_at=ends_at, expires_at=expires_at
            )
        else:
            key, text = make_key(
                control,
                secret,
                ledger=settings.ledger,
                name=parsed.label or "no label",
                scopes=frozenset(parsed.scope or ()),
                at=now,
                expires_at=expires_at,
                rates=_rates(parsed),
            )
    about = f"{key.id} opens the ledger {key.ledger} for {' '.join(sorted(key.scopes))}"
    return Said([text], [about, "Keep it now: it is never shown again."])


def _list_keys(settings: Settings, parsed: argparse.Namespace) -> Said:
    _existing(settings)
    at_us = to_us(SystemClock().now())
    with Control(settings.data) as control:
        keys = [key for key in control.every_key() if parsed.ledger in (None, key.ledger)]
    return Said(_columns([_TITLES, *(_row(key, at_us) for key in keys)]))


def _row(key: Key, at_us: int) -> tuple[str, ...]:
    instants = (key.created_at_us, key.expires_at_us, key.last_used_at_us)
    written = (format_instant(from_us(one))[:19] + "Z" if one else "-" for one in instants)
    scopes = ",".join(sorted(key.scopes))
    return (key.id, key.ledger, key.name, scopes, key.state(at_us), *written)


def _revoke_key(settings: Settings, parsed: argparse.Namespace) -> Said:
    _existing(settings)
    with Control(settings.data) as control:
        key = control.revoke(parsed.key_id, to_us(SystemClock().now()))
    return Said([f"{key.id} is revoked"])


# ------------------------------------------------------------------------------------------- inside


def _existing(settings: Settings) -> None:
    """Do not make a directory of ledgers by mistake."""
    if settings.place is not None:
        return  # the ledger is elsewhere, and its keys are to be kept here
    with_ledger = settings.data / LOG, settings.data / FILE
    if not any(path.exists() for path in with_ledger):
        raise ValueError(f"there is no ledger in {settings.data}")


def _until(text: str, now: datetime, option: str) -> datetime:
    """An instant, or one that lies a duration from now."""
    if not text.startswith("P"):
        return parse_instant(text, (option,))
    try:
        duration = msgspec.convert(text, timedelta)
        return now + duration
    except (msgspec.ValidationError, OverflowError) as error:
        raise ValueError(f"{option}: {text}: {error}") from error


def _rates(parsed: argparse.Namespace) -> Rates:
    given = {name: getattr(parsed, name) for name in Rates.__struct_fields__}
    for name, number in given.items():
        if number is not None and not 1 <= number <= 1_000_000_000:
            raise ValueError(f"--{name.replace('_', '-')}: from 1 to 1,000,000,000")
    return Rates(**given)


def _columns(rows: Sequence[tuple[str, ...]]) -> list[str]:
    """Rows as lines, each column as wide as its widest text."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return [
        "  ".join(text.ljust(width) for text, width in zip(row, widths, strict=True)).rstrip()
        for row in rows
    ]


_ACTIONS: dict[tuple[str, str], Callable[[Settings, argparse.Namespace], Said]] = {
    ("ledger", "create"): _create_ledger,
    ("ledger", "list"): _list_ledgers,
    ("key", "create"): _create_key,
    ("key", "list"): _list_keys,
    ("key", "revoke"): _revoke_key,
}
