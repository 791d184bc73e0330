"""The commands `tallybook ledger` and `tallybook key`: what they ask for, do and say.

Both work beside a running server, which notices what they change.
"""

import argparse
from collections.abc import Callable, Sequence
from contextlib import closing
from datetime import datetime, timedelta
from pathlib import Path

import msgspec

from app import control, server_secret
from app.clock import SystemClock
from app.control import FILE, MAIN, Control
from app.keyring import make_key, replace_key
from app.keys import Key, Rates, Scope
from app.ledger import Ledger
from app.new_directories import check_finished
from app.opening import LOG, Home, check_free, is_there, open_store
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
    add_place_options(create)
    noted = actions.add_parser("place", help="note where a ledger is from now on")
    noted.add_argument("new_ledger", metavar="NAME", help="a ledger of the data directory")
    where = noted.add_mutually_exclusive_group(required=True)
    where.add_argument("--database", help="its address: postgresql://...?schema=...")
    where.add_argument("--files", action="store_true", help="it is in its folder again")
    for action in (create, noted, actions.add_parser("list", help="say which ledgers there are")):
        action.add_argument("--data", type=Path, help="directory of the ledgers")


def add_place_options(command: argparse.ArgumentParser) -> None:
    """What a command asks for that makes a ledger of a data directory."""
    where = command.add_mutually_exclusive_group()
    where.add_argument("--database", help="make it in this PostgreSQL: postgresql://...")
    where.add_argument("--files", action="store_true", help="make it in files, whatever is set")


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


def new_ledger(settings: Settings, parsed: argparse.Namespace, name: str) -> Home:
    """Where a ledger is to be made: in the database that is named or set, or in files.

    Raises `ValueError` when it is known already, or something else is there.
    """
    database = None if parsed.files else settings.place
    own = parsed.database is not None and "schema=" in parsed.database
    home = control.new_home(settings.data, name, database, own=own)
    check_finished(home.directory)
    if not (settings.data / FILE).exists():
        known = Home(settings.data) if name == MAIN else None
    else:
        with Control(settings.data) as kept:
            names = {row.name for row in kept.ledgers()}
            known = kept.home(name) if name in names else None
    if known is not None and (name != MAIN or is_there(*known)):
        raise ValueError(f"there is a ledger {name} in {known} already")
    if home.place is not None:
        if is_there(*home):
            raise ValueError(f"there is a ledger in {home} already")
        check_free(home.place)
    return home


def _create_ledger(settings: Settings, parsed: argparse.Namespace) -> Said:
    """Begin the ledger, and only then note it: whoever serves the directory finds it whole."""
    name: str = parsed.new_ledger
    text = settings.test_clock
    clock_at = parse_instant(text, ("test-clock",)) if text else None
    home = new_ledger(settings, parsed, name)
    with Ledger(home.directory, place=home.place, name=name, test_clock_at=clock_at) as ledger:
        id = ledger.state.id
    control.note_ledger(settings.data, name, home.place)
    return Said([f"{name}: {id} in {home}"])


def _place_ledger(settings: Settings, parsed: argparse.Namespace) -> Said:
    """Note where a ledger is that somebody moved there."""
    _existing(settings)
    name: str = parsed.new_ledger
    at = None if parsed.files else Place.of(parsed.database)
    home = Home(control.place(settings.data, name), at)
    if not is_there(*home):
        raise ValueError(f"there is no ledger in {home}")
    with Control(settings.data) as kept:
        kept.move_ledger(name, at)
    home.directory.mkdir(parents=True, exist_ok=True)
    return Said([f"{name}: in {home}, at position {_head(home)}"])


def _list_ledgers(settings: Settings, parsed: argparse.Namespace) -> Said:
    _existing(settings)
    rows: list[tuple[str, ...]] = [("NAME", "WHERE", "KEYS", "POSITION")]
    at_us = to_us(SystemClock().now())
    with Control(settings.data) as kept:
        live = [key.ledger for key in kept.every_key() if key.live(at_us)]
        for row in kept.ledgers():
            home = kept.home(row.name, settings.place)
            rows.append((row.name, str(home), str(live.count(row.name)), _head(home)))
    return Said(_columns(rows))


def _head(home: Home) -> str:
    """How far a ledger is; nothing for one that was never begun."""
    try:
        if not is_there(*home):
            return "-"
        with closing(open_store(*home, exclusive=False)) as store:
            return str(store.head()[0])
    except ConnectionError:
        return "cannot be reached"


# --------------------------------------------------------------------------------------------- keys


def _create_key(settings: Settings, parsed: argparse.Namespace) -> Said:
    _existing(settings)
    now = SystemClock().now()
    expires_at = _until(parsed.expires, now, "expires") if parsed.expires else None
    with Control(settings.data) as kept:
        secret = server_secret.read(settings)
        if parsed.replaces is not None:
            if parsed.scope or parsed.ledger:
                raise ValueError("a key that replaces another one has its ledger and its scopes")
            ends_at = _until(parsed.overlap, now, "overlap")
            key, text = replace_key(
                kept, secret, parsed.replaces, at=now, ends_at=ends_at, expires_at=expires_at
            )
        else:
            key, text = make_key(
                kept,
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
    with Control(settings.data) as kept:
        keys = [key for key in kept.every_key() if parsed.ledger in (None, key.ledger)]
    return Said(_columns([_TITLES, *(_row(key, at_us) for key in keys)]))


def _row(key: Key, at_us: int) -> tuple[str, ...]:
    instants = (key.created_at_us, key.expires_at_us, key.last_used_at_us)
    written = (format_instant(from_us(one))[:19] + "Z" if one else "-" for one in instants)
    scopes = ",".join(sorted(key.scopes))
    return (key.id, key.ledger, key.name, scopes, key.state(at_us), *written)


def _revoke_key(settings: Settings, parsed: argparse.Namespace) -> Said:
    _existing(settings)
    with Control(settings.data) as kept:
        key = kept.revoke(parsed.key_id, to_us(SystemClock().now()))
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
    ("ledger", "place"): _place_ledger,
    ("ledger", "list"): _list_ledgers,
    ("key", "create"): _create_key,
    ("key", "list"): _list_keys,
    ("key", "revoke"): _revoke_key,
}
