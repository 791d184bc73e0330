"""The command line: parse, call, print.

What only some commands need is imported when one is run: the schema alone takes most of a second.
"""

import argparse
import logging
import sys
from collections.abc import Iterator, Sequence
from contextlib import closing
from datetime import datetime
from pathlib import Path
from time import perf_counter

import msgspec
from msgspec.structs import replace

from app import (
    bench,
    checkpoints,
    control,
    control_commands,
    demo,
    forks,
    logs,
    replay,
    verification,
)
from app.arguments import parser
from app.backups import Copied, copied
from app.clock import SystemClock
from app.exports import files, log_import, log_writing
from app.exports.journals import journal
from app.exports.log_reading import BadLog
from app.following import Meter, meter
from app.ledger import Ledger, WrongClock
from app.lock import LedgerInUse
from app.new_directories import check_finished
from app.opening import Home, is_there, open_store
from app.read_only import ReadOnlyLedger
from app.settings import Settings, from_environment
from app.store import CorruptLedger
from app.verification import VerificationRunning
from domain.decider import Rejected
from domain.periods import Period, check_period, format_instant, parse_instant
from projections.places import Place


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command and return its exit code."""
    parsed = parser().parse_args(arguments)
    if parsed.command == "schema":
        from app import schema

        print(schema.sdl(), end="")
        return 0
    try:
        settings = _settings(parsed)
        if parsed.command in _OF_ALL_LEDGERS:
            return _OF_ALL_LEDGERS[parsed.command](settings, parsed)
        return _COMMANDS[parsed.command](_of_one(settings, parsed), parsed)
    except _REFUSALS as error:
        print(f"tallybook: {error}", file=sys.stderr)
    except Rejected as refusal:
        print(f"tallybook: {'.'.join(refusal.path)}: {refusal.message}", file=sys.stderr)
    return 2


def _settings(parsed: argparse.Namespace) -> Settings:
    given = {
        name: value for name, value in vars(parsed).items() if name in Settings.__struct_fields__
    }
    return from_environment(**given)


def _open(settings: Settings) -> Ledger:
    text = settings.test_clock
    at = parse_instant(text, ("test-clock",)) if text else None
    return _opened(settings, settings.data, settings.name, at, settings.place)


def _opened(
    settings: Settings,
    directory: Path,
    name: str,
    clock_at: datetime | None,
    place: Place | None = None,
) -> Ledger:
    """The ledger in a directory or a database, a new one if there is none."""
    check_finished(directory)
    return Ledger(
        directory,
        place=place,
        name=name,
        test_clock_at=clock_at,
        queue_limit=settings.queue_limit,
        grace=settings.grace,
    )


def _serve(settings: Settings, parsed: argparse.Namespace) -> int:
    """Serve until told to stop; everything accepted is answered first."""
    from app.served import ServedDirectory
    from app.server import create_app
    from app.web import serving
    from app.web.auth import OPEN_WARNING, is_open_now

    logs.set_up(settings.log_format, settings.least_logged)
    # The server hands the signal on when it has stopped; the ledger is closed on the way out.
    serving.end_on_signals()

    if settings.read_only and parsed.demo:
        raise ValueError("--demo changes a ledger, and --read-only does not")

    def opened(home: Home, name: str) -> Ledger:
        if settings.read_only:
            check_finished(home.directory)
            return ReadOnlyLedger(home.directory, place=home.place)
        if name == settings.ledger:  # it may be a new one, as the settings want it
            return _open(_at(settings, home))
        return _opened(settings, home.directory, name, None, home.place)

    _of_one(settings, parsed)  # it must not be elsewhere than is said
    with ServedDirectory(settings, opened) as served:
        app = create_app(served, settings)
        if parsed.demo:
            demo.load(served.ledger)
        address = f"http://{settings.host}:{settings.port}"
        door = _KEYS
        if is_open_now(settings, served.keyring):
            door = _OPEN
            _log.warning(OPEN_WARNING)
        welcome = _WELCOME_TO_ASK if settings.read_only else _WELCOME
        print(welcome.format(address=address, data=settings.data, door=door), flush=True)
        return 0 if serving.serve(app, settings) else 1


def _demo(settings: Settings, parsed: argparse.Namespace) -> int:
    with _open(settings) as ledger:
        loaded = demo.load(ledger)
        position = ledger.store.head()[0]
    what = f"loaded {loaded} usage records" if loaded else "the demo was loaded before"
    print(f"{settings.place or settings.data}: {what}; the ledger is at position {position}")
    return 0


def _replay(settings: Settings, parsed: argparse.Namespace) -> int:
    _existing(settings)
    started, on_terminal = perf_counter(), sys.stderr.isatty()
    follow = Meter() if on_terminal else Meter(10, "", "\n")
    done = replay.replay(settings.data, follow, settings.place)
    if on_terminal:
        print(file=sys.stderr)
    served = "; the server goes on with the new views" if done.served else ""
    print(f"replayed {done.events} events in {perf_counter() - started:.2f} s{served}")
    return 0


def _verify(settings: Settings, parsed: argparse.Namespace) -> int:
    _existing(settings)
    signed = None
    if parsed.checkpoint is not None:
        signed = checkpoints.read(parsed.checkpoint)
        if not signed:
            raise ValueError(f"there is no checkpoint in {parsed.checkpoint}")
    key = checkpoints.read_public_key(parsed.public_key) if parsed.public_key else None
    follow = Meter() if parsed.progress or sys.stderr.isatty() else None
    found = verification.verify(settings.data, follow, signed, key, settings.place)
    if follow is not None:
        print(file=sys.stderr)
    if parsed.json:
        print(msgspec.json.encode({"ok": found.ok, **msgspec.structs.asdict(found)}).decode())
        return 0 if found.ok else 1
    print(f"{found.events} events, head {found.head_hash}")
    print(f"{found.invoices} invoices derived again, {found.checkpoints} checkpoints hold")
    for finding in found.findings:
        where = "" if finding.position is None else f" at position {finding.position}"
        print(f"{finding.code}{where}: {finding.message}")
    print("ok: nothing was touched" if found.ok else "NOT ok")
    return 0 if found.ok else 1


def _export(settings: Settings, parsed: argparse.Namespace) -> int:
    _existing(settings)
    parts = _parts(settings, parsed)
    if parsed.to is not None and settings.data.resolve() in parsed.to.resolve().parents:
        raise ValueError(f"{parsed.to} is inside the directory of the ledger itself")
    if parsed.to is None:
        sys.stdout.buffer.writelines(parts)
    else:
        files.write(parts, parsed.to)
    return 0


def _parts(settings: Settings, parsed: argparse.Namespace) -> Iterator[bytes]:
    """What is asked for, part by part."""
    directory, place = settings.data, settings.place
    if parsed.csv is not None:
        from app.exports.spreadsheets import spreadsheet

        return spreadsheet(directory, parsed.csv, _period(parsed.period), place)
    if parsed.parquet is not None:
        from app.exports.parquet import parquet

        return parquet(directory, parsed.parquet, _period(parsed.period), place)
    if parsed.period is not None:
        raise ValueError("--period goes with --csv or --parquet")
    if parsed.journal is not None:
        return journal(directory, parsed.journal, place)
    return log_writing.log(directory, parsed.from_position, place=place)


def _period(text: str | None) -> Period | None:
    if text is None:
        return None
    start, _, end = text.partition("/")
    path = ("period",)
    return check_period(parse_instant(start, path), parse_instant(end, path), path)


def _import(settings: Settings, parsed: argparse.Namespace) -> int:
    home = control_commands.new_ledger(settings, parsed, settings.ledger)
    with parsed.file.open("rb") as file:
        made = log_import.imported(file, home.directory, meter(), home.place)
    control.note_ledger(settings.data, settings.ledger, home.place)
    return _made(home, made)


def _backup(settings: Settings, parsed: argparse.Namespace) -> int:
    _existing(settings)
    if settings.place is not None:
        raise ValueError(_NO_BACKUP.format(place=settings.place, schema=settings.place.schema))
    return _made(parsed.to, copied(settings.data, parsed.to, meter()))


def _fork(settings: Settings, parsed: argparse.Namespace) -> int:
    """Fork it beside the original: in files, or into another schema of the same database."""
    _existing(settings)
    as_of, at = parsed.as_of, parsed.at
    made, event = forks.forked(
        settings.data,
        parsed.destination,
        as_of=_place(as_of) if as_of else None,
        at=parse_instant(at, ("at",)) if at else None,
        progress=meter(),
        place=settings.place,
    )
    place = forks.place_of(event.id, settings.place)
    control.note_ledger(parsed.destination, control.MAIN, place)
    origin, clock = event.origin, format_instant(event.clock_at)
    _made(Home(parsed.destination, place), made)
    print(f"a fork of {origin.ledger_id} at position {origin.position}; its clock is at {clock}")
    return 0


def _place(text: str) -> forks.AsOf:
    """A position of a ledger, or an instant."""
    return int(text) if text.isascii() and text.isdecimal() else parse_instant(text, ("as-of",))


def _restore(settings: Settings, parsed: argparse.Namespace) -> int:
    return _made(parsed.to, copied(parsed.backup, parsed.to, meter()))


def _bench(settings: Settings, parsed: argparse.Namespace) -> int:
    if parsed.seconds < 1 or parsed.clients not in range(1, settings.queue_limit):
        raise ValueError(f"from 1 second, and 1 to {settings.queue_limit - 1} clients")
    found = bench.measure(settings.data, parsed.seconds, parsed.clients, settings.place)
    print(*bench.table(found), "", bench.verdict(found), sep="\n")
    return 0


def _explain(settings: Settings, parsed: argparse.Namespace) -> int:
    from app.explain import explainer

    _existing(settings)
    with explainer(settings.data, parsed.invoice, settings.place) as one:
        if parsed.json:
            data = one.as_data(parsed.line, records=parsed.records)
            print(msgspec.json.format(msgspec.json.encode(data)).decode())
        else:
            for line in one.as_text(parsed.line, records=parsed.records):
                print(line)
    return 0


def _made(where: Path | Home, made: Copied) -> int:
    """Say which ledger is in its new place."""
    print(f"\r{where}: position {made.position}, head {made.head_hash}, verified")
    return 0


def _checkpoint(settings: Settings, parsed: argparse.Namespace) -> int:
    _existing(settings)
    with closing(open_store(settings.data, settings.place, exclusive=False)) as store:
        taken = checkpoints.take(store, settings.data, SystemClock().now())
    print(taken.line().decode(), end="")
    return 0


def _say(settings: Settings, parsed: argparse.Namespace) -> int:
    """What a command about ledgers or keys says; a new key stands alone on standard output."""
    said = control_commands.run(settings, parsed)
    for line in said.aside:
        print(line, file=sys.stderr)
    for line in said.out:
        print(line)
    return 0


def _of_one(settings: Settings, parsed: argparse.Namespace) -> Settings:
    """The settings of a command about one ledger, which is to work where that one is."""
    home = control.home_of(settings.data, settings.ledger, settings.place)
    named = Place.of(parsed.database) if parsed.database else None
    if named is not None and (home.place is None or not home.place.same_as(named)):
        raise ValueError(f"the ledger {settings.ledger} is in {home}, and not in {named}")
    return _at(settings, home)


def _at(settings: Settings, home: Home) -> Settings:
    database = home.place.address if home.place else None
    return replace(settings, data=home.directory, database=database)


def _existing(settings: Settings) -> None:
    """Reading a log again needs one; do not make an empty one by mistake."""
    if not is_there(settings.data, settings.place):
        raise ValueError(f"there is no ledger in {settings.place or settings.data}")


_REFUSALS = (
    LedgerInUse,
    WrongClock,
    CorruptLedger,
    BadLog,
    bench.NotMeasured,
    VerificationRunning,
    ValueError,
    OSError,
)

_NO_BACKUP = """backup copies files, and this ledger is in {place}: use
pg_dump --schema={schema} --schema={schema}_views, or tallybook export, whose log tallybook import
makes into a ledger again, in a database or in files"""

_OF_ALL_LEDGERS = {
    "serve": _serve,
    "import": _import,
    "restore": _restore,
    "bench": _bench,
    "ledger": _say,
    "key": _say,
}

_COMMANDS = {
    "demo": _demo,
    "replay": _replay,
    "verify": _verify,
    "explain": _explain,
    "checkpoint": _checkpoint,
    "export": _export,
    "backup": _backup,
    "fork": _fork,
}

_log = logging.getLogger("tallybook.server")

_OPEN = """NO KEY IS NEEDED: whoever reaches this address may do anything. Once `tallybook key
create` has made a key, every request needs one, unless --auth says open."""
_KEYS = "Every request needs a key: `tallybook key create` makes one."

_WELCOME = """Tallybook serves the ledgers in {data}

  explorer   {address}/graphiql   every step of the story is a tab: press play from left to right
  GraphQL    {address}/graphql
  bulk usage {address}/v1/usage

{door}
Ctrl+C stops it."""

_WELCOME_TO_ASK = """Tallybook answers questions about the ledgers in {data}, and changes nothing

  explorer   {address}/graphiql
  GraphQL    {address}/graphql

{door}
Ctrl+C stops it."""


if __name__ == "__main__":
    sys.exit(main())
