"""The command line: parse, call, print."""

import argparse
import sys
from collections.abc import Iterator, Sequence
from contextlib import closing
from pathlib import Path
from time import perf_counter

import msgspec

from app import bench, checkpoints, demo, forks, logs, replay, schema, verification
from app.backups import Copied, copied
from app.clock import SystemClock
from app.explain import explainer
from app.exports import files, log_import, log_writing
from app.exports.journals import Form, journal
from app.exports.log_reading import BadLog
from app.exports.parquet import parquet
from app.exports.spreadsheets import Subject, spreadsheet
from app.ledger import Ledger, WrongClock
from app.lock import LedgerInUse
from app.new_directories import check_finished
from app.opening import is_there
from app.reading import Progress
from app.server import create_app
from app.settings import Settings, from_environment
from app.store import CorruptLedger, Store
from app.verification import VerificationRunning
from app.web import serving
from domain.decider import Rejected
from domain.periods import Period, check_period, format_instant, parse_instant


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command and return its exit code."""
    parsed = _parser().parse_args(arguments)
    if parsed.command == "schema":
        print(schema.sdl(), end="")
        return 0
    try:
        settings = _settings(parsed)
        if settings.place is not None and parsed.command not in _IN_POSTGRES:
            raise ValueError(f"{parsed.command} knows only ledgers in files, not in a database")
        return _COMMANDS[parsed.command](settings, parsed)
    except _REFUSALS as error:
        print(f"tallybook: {error}", file=sys.stderr)
    except Rejected as refusal:
        print(f"tallybook: {'.'.join(refusal.path)}: {refusal.message}", file=sys.stderr)
    return 2


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="tallybook", description="Usage billing you can replay.")
    commands = parser.add_subparsers(dest="command", required=True)
    serve = commands.add_parser("serve", help="serve a ledger over HTTP")
    serve.add_argument("--host", help="address to listen on (default 127.0.0.1)")
    serve.add_argument("--port", type=int, help="port to listen on (default 8000)")
    serve.add_argument("--name", help="what a new ledger is called (default main)")
    serve.add_argument("--test-clock", help="instant at which a new ledger's test clock stands")
    serve.add_argument(
        "--grace-period", help="how long a draft waits for late usage (default PT1H)"
    )
    serve.add_argument("--log-format", choices=list(logs.LogFormat), help="how lines are logged")
    serve.add_argument("--log-level", choices=logs.LEVELS, help="the least of what is logged")
    serve.add_argument("--webhook-url", help="where facts of the ledger are delivered to")
    serve.add_argument("--checkpoint-period", help="how often a checkpoint is noted (default PT1H)")
    serve.add_argument("--demo", action="store_true", help="load the demo data first")
    others = [
        serve,
        commands.add_parser("demo", help="load the demo data into a ledger"),
        commands.add_parser("replay", help="rebuild the views from the log"),
        _verify_parser(commands.add_parser("verify", help="check the log, views and invoices")),
        _explain_parser(commands.add_parser("explain", help="say why an invoice is what it is")),
        commands.add_parser("checkpoint", help="print where the ledger stands, signed"),
        _export_parser(commands.add_parser("export", help="write the log for other programs")),
        commands.add_parser("import", help="make a ledger from an exported log"),
        commands.add_parser("backup", help="copy a ledger, also while it is served"),
    ]
    others[-2].add_argument("file", type=Path, help="the exported log")
    others[-1].add_argument("--to", type=Path, required=True, help="empty directory for the copy")
    for command in others:
        command.add_argument("--data", type=Path, help="directory of the ledger")
    for command in others[:4]:
        command.add_argument("--database", help="a ledger in PostgreSQL: postgresql://...")
    fork = commands.add_parser("fork", help="make a sandbox that goes on from a ledger's past")
    fork.add_argument("destination", type=Path, help="empty directory for the fork")
    fork.add_argument("--as-of", help="position or instant to fork at (default: the newest)")
    fork.add_argument("--at", help="where its test clock stands (default: where the ledger stood)")
    fork.add_argument("--data", type=Path, help="directory of the ledger")
    restore = commands.add_parser("restore", help="make a ledger from a backup")
    restore.add_argument("--from", dest="backup", type=Path, required=True, help="the backup")
    restore.add_argument("--to", type=Path, required=True, help="empty directory for the ledger")
    measuring = commands.add_parser("bench", help="measure what this machine makes of it")
    measuring.add_argument("--data", type=Path, help="measure beside this directory")
    measuring.add_argument("--seconds", type=int, default=16, help="how long in all (default 16)")
    measuring.add_argument("--clients", type=int, default=50, help="who send singly (default 50)")
    commands.add_parser("schema", help="print the GraphQL schema")
    return parser


def _export_parser(export: argparse.ArgumentParser) -> argparse.ArgumentParser:
    export.add_argument("--to", type=Path, help="file to write (default: standard output)")
    what = export.add_mutually_exclusive_group()
    what.add_argument("--from-position", type=int, default=1, help="first event of the log")
    what.add_argument("--csv", choices=list(Subject), help="a table, instead of the log")
    what.add_argument("--parquet", choices=list(Subject), help="a table with types, as Parquet")
    what.add_argument("--journal", choices=list(Form), help="double entries, instead of the log")
    export.add_argument("--period", help="START/END: only what a table says of this time")
    return export


def _explain_parser(explain: argparse.ArgumentParser) -> argparse.ArgumentParser:
    explain.add_argument(
        "invoice", help="its id or number; of a subscription's id, the next invoice"
    )
    explain.add_argument("--line", type=int, help="only this line, counted from 1")
    explain.add_argument("--records", action="store_true", help="list the usage records, too")
    explain.add_argument("--json", action="store_true", help="print the explanation as JSON")
    return explain


def _verify_parser(verify: argparse.ArgumentParser) -> argparse.ArgumentParser:
    verify.add_argument("--json", action="store_true", help="print what was found as JSON")
    verify.add_argument("--progress", action="store_true", help="say how far it is, also to a file")
    verify.add_argument("--checkpoint", type=Path, help="checkpoints to hold the ledger to")
    verify.add_argument("--public-key", type=Path, help="the key that they must be signed by")
    return verify


def _settings(parsed: argparse.Namespace) -> Settings:
    given = {
        name: value for name, value in vars(parsed).items() if name in Settings.__struct_fields__
    }
    return from_environment(**given)


def _open(settings: Settings) -> Ledger:
    check_finished(settings.data)
    text = settings.test_clock
    return Ledger(
        settings.data,
        place=settings.place,
        name=settings.name,
        test_clock_at=parse_instant(text, ("test-clock",)) if text else None,
        queue_limit=settings.queue_limit,
        grace=settings.grace,
    )


def _serve(settings: Settings, parsed: argparse.Namespace) -> int:
    """Serve until told to stop; everything accepted is answered first."""
    logs.set_up(settings.log_format, settings.least_logged)
    # The server hands the signal on when it has stopped; the ledger is closed on the way out.
    serving.end_on_signals()
    with _open(settings) as ledger:
        app = create_app(ledger, settings)
        if parsed.demo:
            demo.load(ledger)
        address = f"http://{settings.host}:{settings.port}"
        print(_WELCOME.format(address=address, data=settings.place or settings.data), flush=True)
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
    follow = _Meter() if on_terminal else _Meter(10, "", "\n")
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
    follow = _Meter() if parsed.progress or sys.stderr.isatty() else None
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
    parts = _parts(settings.data, parsed)
    if parsed.to is not None and settings.data.resolve() in parsed.to.resolve().parents:
        raise ValueError(f"{parsed.to} is inside the directory of the ledger itself")
    if parsed.to is None:
        sys.stdout.buffer.writelines(parts)
    else:
        files.write(parts, parsed.to)
    return 0


def _parts(directory: Path, parsed: argparse.Namespace) -> Iterator[bytes]:
    """What is asked for, part by part."""
    if parsed.csv is not None:
        return spreadsheet(directory, parsed.csv, _period(parsed.period))
    if parsed.parquet is not None:
        return parquet(directory, parsed.parquet, _period(parsed.period))
    if parsed.period is not None:
        raise ValueError("--period goes with --csv or --parquet")
    if parsed.journal is not None:
        return journal(directory, parsed.journal)
    return log_writing.log(directory, parsed.from_position)


def _period(text: str | None) -> Period | None:
    if text is None:
        return None
    start, _, end = text.partition("/")
    path = ("period",)
    return check_period(parse_instant(start, path), parse_instant(end, path), path)


def _import(settings: Settings, parsed: argparse.Namespace) -> int:
    with parsed.file.open("rb") as file:
        return _made(settings.data, log_import.imported(file, settings.data, _meter()))


def _backup(settings: Settings, parsed: argparse.Namespace) -> int:
    _existing(settings)
    return _made(parsed.to, copied(settings.data, parsed.to, _meter()))


def _fork(settings: Settings, parsed: argparse.Namespace) -> int:
    _existing(settings)
    as_of, at = parsed.as_of, parsed.at
    made, event = forks.forked(
        settings.data,
        parsed.destination,
        as_of=_place(as_of) if as_of else None,
        at=parse_instant(at, ("at",)) if at else None,
        progress=_meter(),
    )
    origin, clock = event.origin, format_instant(event.clock_at)
    _made(parsed.destination, made)
    print(f"a fork of {origin.ledger_id} at position {origin.position}; its clock is at {clock}")
    return 0


def _place(text: str) -> forks.AsOf:
    """A position of a ledger, or an instant."""
    return int(text) if text.isascii() and text.isdecimal() else parse_instant(text, ("as-of",))


def _restore(settings: Settings, parsed: argparse.Namespace) -> int:
    return _made(parsed.to, copied(parsed.backup, parsed.to, _meter()))


def _bench(settings: Settings, parsed: argparse.Namespace) -> int:
    if parsed.seconds < 1 or parsed.clients not in range(1, settings.queue_limit):
        raise ValueError(f"from 1 second, and 1 to {settings.queue_limit - 1} clients")
    found = bench.measure(settings.data, parsed.seconds, parsed.clients)
    print(*bench.table(found), "", bench.verdict(found), sep="\n")
    return 0


def _explain(settings: Settings, parsed: argparse.Namespace) -> int:
    _existing(settings)
    with explainer(settings.data, parsed.invoice) as one:
        if parsed.json:
            data = one.as_data(parsed.line, records=parsed.records)
            print(msgspec.json.format(msgspec.json.encode(data)).decode())
        else:
            for line in one.as_text(parsed.line, records=parsed.records):
                print(line)
    return 0


def _meter() -> Progress | None:
    return _Meter() if sys.stderr.isatty() else None


def _made(directory: Path, made: Copied) -> int:
    """Say which ledger is in its new place."""
    print(f"\r{directory}: position {made.position}, head {made.head_hash}, verified")
    return 0


class _Meter:
    """Says on standard error how far reading the log is, how fast, and how long it will take.

    Again and again in one line; or, with another beginning and end, in a line each time.
    """

    def __init__(self, every: int = 1, begin: str = "\r", end: str = "") -> None:
        self._started = self._said = perf_counter()
        self._every, self._begin, self._end = every, begin, end

    def __call__(self, position: int, until: int) -> None:
        """Say it every so many seconds, and at the end."""
        now = perf_counter()
        if now - self._said < self._every and position < until:
            return
        self._said = now
        speed = position / max(now - self._started, 0.001)
        left = (until - position) / speed
        bar = f"[{'#' * (20 * position // max(until, 1)):<20}]"
        said = f"{bar} {position:,} of {until:,} events, {speed:,.0f}/s, {left:.0f} s left"
        print(f"{self._begin}{said:<92}", end=self._end, flush=True, file=sys.stderr)


def _checkpoint(settings: Settings, parsed: argparse.Namespace) -> int:
    _existing(settings)
    with closing(Store(settings.data, exclusive=False)) as store:
        taken = checkpoints.take(store, settings.data, SystemClock().now())
    print(taken.line().decode(), end="")
    return 0


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

_IN_POSTGRES = {"serve", "demo", "replay", "verify"}
"""The commands that take a database."""

_COMMANDS = {
    "serve": _serve,
    "demo": _demo,
    "replay": _replay,
    "verify": _verify,
    "explain": _explain,
    "checkpoint": _checkpoint,
    "export": _export,
    "import": _import,
    "backup": _backup,
    "fork": _fork,
    "restore": _restore,
    "bench": _bench,
}

_WELCOME = """Tallybook serves the ledger in {data}

  explorer   {address}/graphiql   every step of the story is a tab: press play from left to right
  GraphQL    {address}/graphql
  bulk usage {address}/v1/usage

There are no access keys yet: whoever reaches this address may do anything. Ctrl+C stops it."""


if __name__ == "__main__":
    sys.exit(main())
