"""What each command of the command line asks for."""

import argparse
from pathlib import Path

from app import control_commands, logs
from app.exports.journals import Form
from app.exports.subjects import Subject
from app.settings import Auth


def parser() -> argparse.ArgumentParser:
    """All commands with their options."""
    parser = argparse.ArgumentParser(prog="tallybook", description="Usage billing you can replay.")
    commands = parser.add_subparsers(dest="command", required=True)
    others = [
        _serve_parser(commands.add_parser("serve", help="serve a ledger over HTTP")),
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
    fork = commands.add_parser("fork", help="make a sandbox that goes on from a ledger's past")
    fork.add_argument("destination", type=Path, help="empty directory for the fork")
    fork.add_argument("--as-of", help="position or instant to fork at (default: the newest)")
    fork.add_argument("--at", help="where its test clock stands (default: where the ledger stood)")
    for command in (*others, fork):
        command.add_argument("--data", type=Path, help="directory of the ledgers")
        command.add_argument("--ledger", help="which of its ledgers (default main)")
    for command in (*others[:7], others[-1], fork):
        command.add_argument("--database", help="where in PostgreSQL it is: postgresql://...")
    control_commands.add_place_options(others[-2])
    restore = commands.add_parser("restore", help="make a ledger from a backup")
    restore.add_argument("--from", dest="backup", type=Path, required=True, help="the backup")
    restore.add_argument("--to", type=Path, required=True, help="empty directory for the ledger")
    measuring = commands.add_parser("bench", help="measure what this machine makes of it")
    measuring.add_argument("--data", type=Path, help="measure beside this directory")
    measuring.add_argument("--database", help="measure in this PostgreSQL: postgresql://...")
    measuring.add_argument("--seconds", type=int, default=16, help="how long in all (default 16)")
    measuring.add_argument("--clients", type=int, default=50, help="who send singly (default 50)")
    control_commands.add_ledger_parser(commands.add_parser("ledger", help="create, list"))
    control_commands.add_key_parser(commands.add_parser("key", help="create, list, revoke"))
    commands.add_parser("schema", help="print the GraphQL schema")
    return parser


def _serve_parser(serve: argparse.ArgumentParser) -> argparse.ArgumentParser:
    serve.add_argument("--host", help="address to listen on (default 127.0.0.1)")
    serve.add_argument("--port", type=int, help="port to listen on (default 8000)")
    serve.add_argument("--name", help="what a new ledger is called (default main)")
    serve.add_argument("--test-clock", help="instant at which a new ledger's test clock stands")
    serve.add_argument(
        "--grace-period", help="how long a draft waits for late usage (default PT1H)"
    )
    serve.add_argument("--log-format", choices=list(logs.LogFormat), help="how lines are logged")
    serve.add_argument("--log-level", choices=logs.LEVELS, help="the least of what is logged")
    serve.add_argument(
        "--auth", type=Auth, choices=list(Auth), help="who may ask: keys, or open to anybody"
    )
    serve.add_argument("--webhook-url", help="where facts of the ledger are delivered to")
    serve.add_argument("--checkpoint-period", help="how often a checkpoint is noted (default PT1H)")
    serve.add_argument(
        "--read-only",
        action="store_true",
        default=None,
        help="only answer questions, beside the server that writes",
    )
    serve.add_argument("--demo", action="store_true", help="load the demo data first")
    return serve


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
