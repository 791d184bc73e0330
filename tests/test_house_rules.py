"""Hold the code to the house rules: who may import what, where the world may enter, and sizes.

A rule is a function from a file to its findings. The tables at the end say which folders each
rule reads, and give a bad snippet for each, so that no rule passes because it cannot fail.
"""

import ast
import re
import sys
from collections.abc import Iterator

import pytest

from tests.doors import CLOCK, DOORS, SENDER
from tests.house import (
    ROOMS,
    Finding,
    Rule,
    Source,
    broken,
    dotted,
    examples,
    imports,
    mentions,
    python_files,
    within,
)

MAY_IMPORT = {"domain": {"domain"}, "projections": {"domain", "projections"}, "app": set(ROOMS)}

AGGREGATES = "meters usage products prices customers subscriptions invoices settlements".split()
AGGREGATES += "invoice_items credits alerts entitlements discounts".split()
ONE_STREAM = {"settlements": "invoices"}  # the first goes on with the stream of the second

DOMAIN_LIBRARIES = set(
    "__future__ abc bisect calendar collections contextlib copy dataclasses datetime decimal enum"
    " fractions functools graphlib hashlib heapq itertools json keyword math msgspec numbers re"
    " operator string struct textwrap types typing unicodedata zoneinfo".split()
)

WALL_CLOCK = set(
    "time.time time.time_ns time.clock_gettime time.clock_gettime_ns time.localtime time.gmtime"
    " time.ctime datetime.datetime.now datetime.datetime.utcnow datetime.datetime.today"
    " datetime.date.today os.urandom".split()
)
ENVIRONMENT = {"os.environ", "os.environb", "os.getenv", "os.getenvb", "os.putenv", "os.unsetenv"}
ROUNDING_METHODS = {"quantize", "to_integral", "to_integral_value", "to_integral_exact"}

MOST_LINES_OF_A_FILE = 400
MOST_LINES_OF_A_FUNCTION = 60
EMPTY_WORDS = set("util utils helper helpers manager managers service services".split())

Definition = ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef


def rooms_import_downwards(source: Source) -> Iterator[Finding]:
    """Domain imports no other room, projections import domain, app imports both."""
    for node, name, _ in imports(source):
        room = name.split(".")[0]
        if room in {*ROOMS, "tests"} and room not in MAY_IMPORT[source.room]:
            yield source.at(node, f"{source.room} imports {name}")


def aggregates_stand_alone(source: Source) -> Iterator[Finding]:
    """An aggregate never imports another one."""
    own = source.module.split(".")[1:2]
    if source.room != "domain" or not set(own) & set(AGGREGATES):
        return
    for node, name, _ in imports(source):
        parts = name.split(".")[:2]
        alone = parts[1:] not in (own, [ONE_STREAM.get(own[0])])
        if parts[0] == "domain" and alone and set(parts[1:]) & set(AGGREGATES):
            yield source.at(node, f"aggregate {own[0]} imports aggregate {parts[1]}")


def domain_is_pure(source: Source) -> Iterator[Finding]:
    """Domain imports msgspec and the parts of the standard library that cannot reach outside."""
    for node, name, _ in imports(source):
        if name.split(".")[0] not in {"domain", *ROOMS, *DOMAIN_LIBRARIES}:
            yield source.at(node, f"domain imports {name}")


def libraries_have_one_door(source: Source) -> Iterator[Finding]:
    """A library that lets the world in is imported by its door only; any other has none yet."""
    for node, name, _ in imports(source):
        library = name.split(".")[0]
        known = library in sys.stdlib_module_names or library in {*ROOMS, "tests"}
        if library in DOORS and not within(source.path, DOORS[library]):
            yield source.at(node, f"imports {name}: only {' '.join(DOORS[library])} may")
        elif library not in DOORS and not known:
            yield source.at(node, f"imports {name}: name its door in DOORS")


def time_comes_from_the_clock(source: Source) -> Iterator[Finding]:
    """The wall clock and the system's randomness are read in app/clock.py, or by the sender."""
    if not within(source.path, (*CLOCK, *SENDER)):
        yield from reading(source, WALL_CLOCK)


def settings_read_the_environment(source: Source) -> Iterator[Finding]:
    """Environment variables are read in app/settings.py only."""
    if source.path != "app/settings.py":
        yield from reading(source, ENVIRONMENT)


def reading(source: Source, names: set[str]) -> Iterator[Finding]:
    """Every import or mention of one of the names."""
    for node, name, _ in imports(source):
        if name in names:
            yield source.at(node, f"imports {name}")
    for mention, name in mentions(source):
        if name in names:
            yield source.at(mention, f"reads {name}")


def money_rounds(source: Source) -> Iterator[Finding]:
    """Rounding happens in domain/money.py only."""
    if source.path == "domain/money.py":
        return
    for statement, name, _ in imports(source):
        if name.startswith("decimal.ROUND_"):
            yield source.at(statement, f"imports {name}")
    for node in source.nodes:
        match node:
            case ast.Call(func=ast.Name(id="round")):
                yield source.at(node, "rounds by round()")
            case ast.Call(func=ast.Attribute(attr=method)) if method in ROUNDING_METHODS:
                yield source.at(node, f"rounds by .{method}()")
            case ast.Attribute(attr=mode) if mode.startswith("ROUND_"):
                yield source.at(node, f"names {mode}")


def numbers_are_exact(source: Source) -> Iterator[Finding]:
    """No float is written, made or declared; asking whether a value is one is allowed."""
    questions = {
        id(name)
        for node in source.nodes
        if isinstance(node, ast.Call) and getattr(node.func, "id", "") == "isinstance"
        for argument in node.args[1:]
        for name in ast.walk(argument)
    }
    for node in source.nodes:
        match node:
            case ast.Constant(value=float() | complex() as value):
                yield source.at(node, f"writes the float {value}")
            case ast.Name(id="float") if id(node) not in questions:
                yield source.at(node, "uses float")


def files_are_short(source: Source) -> Iterator[Finding]:
    """A file has at most 400 lines; one that is copied cannot be split, and has at most 560."""
    most = 560 if within(source.path, SENDER) else MOST_LINES_OF_A_FILE
    lines = len(source.text.splitlines())
    if lines > most:
        yield Finding(source.path, lines, f"{lines} lines, over {most}")


def functions_are_short(source: Source) -> Iterator[Finding]:
    """A function has at most 60 lines."""
    for node in source.nodes:
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            lines = (node.end_lineno or node.lineno) - node.lineno + 1
            if lines > MOST_LINES_OF_A_FUNCTION:
                yield source.at(
                    node, f"{node.name} has {lines} lines, over {MOST_LINES_OF_A_FUNCTION}"
                )


def names_say_something(source: Source) -> Iterator[Finding]:
    """No file, class or function is named after a drawer that holds anything."""
    if words := words_of(source.module) & EMPTY_WORDS:
        yield Finding(source.path, 1, f"the file's name says {' '.join(sorted(words))}")
    for node in source.nodes:
        if isinstance(node, Definition) and (words := words_of(node.name) & EMPTY_WORDS):
            yield source.at(node, f"{node.name} says {' '.join(sorted(words))}")


def words_of(name: str) -> set[str]:
    """The words of a name in any spelling.

    >>> sorted(words_of("domain.price_tiers.HTTPServer"))
    ['domain', 'http', 'price', 'server', 'tiers']
    """
    return {word.lower() for word in re.findall(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+", name)}


def everything_public_is_explained(source: Source) -> Iterator[Finding]:
    """Modules, and public classes, functions and methods, begin with a docstring."""
    if not ast.get_docstring(source.tree):
        yield Finding(source.path, 1, "the module has no docstring")
    yield from unexplained(source, source.tree.body, owner=None)


def unexplained(
    source: Source, body: list[ast.stmt], owner: ast.ClassDef | None
) -> Iterator[Finding]:
    """The public definitions in a body that nothing explains; local functions are private."""
    for node in body:
        if isinstance(node, ast.If | ast.Try):
            yield from unexplained(source, [*node.body, *node.orelse], owner)
        if not isinstance(node, Definition) or node.name.startswith("_"):
            continue
        if not ast.get_docstring(node) and not explained_elsewhere(source, node, owner):
            yield source.at(node, f"{node.name} has no docstring")
        if isinstance(node, ast.ClassDef):
            yield from unexplained(source, node.body, node)


def explained_elsewhere(source: Source, node: Definition, owner: ast.ClassDef | None) -> bool:
    """Whether a decorator describes it, or it is an override that its base class explains."""
    for decorator in node.decorator_list:
        keywords = decorator.keywords if isinstance(decorator, ast.Call) else []
        if any(keyword.arg == "description" for keyword in keywords):
            return True
        called = decorator.func if isinstance(decorator, ast.Call) else decorator
        name = called.attr if isinstance(called, ast.Attribute) else getattr(called, "id", "")
        if name in {"overload", "override", "setter", "deleter"}:
            return True
    if owner is None or not owner.bases or isinstance(node, ast.ClassDef):
        return False
    return len(node.body) == 1 or explained_by_base(source, node.name, owner)


def explained_by_base(source: Source, method: str, owner: ast.ClassDef) -> bool:
    """Whether a base class in the same file, or a base of that, explains the method."""
    bases = {
        dotted(base.value if isinstance(base, ast.Subscript) else base) for base in owner.bases
    }
    for node in source.nodes:
        if isinstance(node, ast.ClassDef) and node is not owner and node.name in bases:
            own = [d for d in node.body if isinstance(d, Definition) and d.name == method]
            if any(map(ast.get_docstring, own)) or explained_by_base(source, method, node):
                return True
    return False


def the_command_line_prints(source: Source) -> Iterator[Finding]:
    """Only app/cli.py prints."""
    if source.path == "app/cli.py":
        return
    for node in source.nodes:
        if isinstance(node, ast.Call) and getattr(node.func, "id", "") == "print":
            yield source.at(node, "prints")


def imports_are_named(source: Source) -> Iterator[Finding]:
    """No star import and no import by a string, which the other rules could not follow."""
    for statement, name, _ in imports(source):
        if name.endswith(".*"):
            yield source.at(statement, f"imports {name}")
    for mention, name in mentions(source):
        if name == "importlib.import_module":
            yield source.at(mention, "imports by a string")
    for node in source.nodes:
        if isinstance(node, ast.Name) and node.id == "__import__":
            yield source.at(node, "imports by a string")


READS: dict[Rule, tuple[str, ...]] = {
    rooms_import_downwards: ROOMS,
    aggregates_stand_alone: ("domain",),
    domain_is_pure: ("domain",),
    libraries_have_one_door: ROOMS,
    imports_are_named: ROOMS,
    time_comes_from_the_clock: ROOMS,
    settings_read_the_environment: ROOMS,
    money_rounds: ROOMS,
    numbers_are_exact: ("domain", "projections"),
    files_are_short: (*ROOMS, "tests"),
    functions_are_short: ROOMS,
    names_say_something: (*ROOMS, "tests"),
    everything_public_is_explained: ROOMS,
    the_command_line_prints: ROOMS,
}

OVERRIDE = '''"""A base class that explains `f`, and a derived one."""
class A:
    "Doc."
    def f(self):
        "Doc."
class B(A):
    "Doc."
    def NAME(self):
        x = 1
        return x
'''

BAD: list[tuple[Rule, str, str]] = [
    (rooms_import_downwards, "domain/money.py", "import app.clock"),
    (rooms_import_downwards, "domain/pricing/package.py", "from projections import tables"),
    (rooms_import_downwards, "domain/pricing/__init__.py", "from ...app import clock"),
    (rooms_import_downwards, "projections/engine.py", "from app.store import open_ledger"),
    (rooms_import_downwards, "app/cli.py", "from tests.spec import given"),
    (aggregates_stand_alone, "domain/prices.py", "from domain.products import Product"),
    (aggregates_stand_alone, "domain/prices.py", "from domain import products"),
    (aggregates_stand_alone, "domain/usage.py", "from . import meters"),
    (aggregates_stand_alone, "domain/invoices.py", "from domain import settlements"),
    (domain_is_pure, "domain/money.py", "import os"),
    (domain_is_pure, "domain/money.py", "from time import monotonic"),
    (domain_is_pure, "domain/money.py", "def f():\n    import logging"),
    (libraries_have_one_door, "app/writer.py", "import sqlite3"),
    (libraries_have_one_door, "app/store.py", "from starlette.routing import Route"),
    (libraries_have_one_door, "app/ledger.py", "from uuid import uuid4"),
    (libraries_have_one_door, "app/webhooks.py", "import requests"),
    (libraries_have_one_door, "app/webhooks.py", "from urllib.request import urlopen"),
    (imports_are_named, "domain/rating.py", "from domain.money import *"),
    (imports_are_named, "app/store.py", "import importlib\nimportlib.import_module('app')"),
    (imports_are_named, "app/store.py", "__import__('uuid')"),
    (time_comes_from_the_clock, "app/worker.py", "import datetime\ndatetime.datetime.now()"),
    (time_comes_from_the_clock, "app/worker.py", "import datetime as d\nd.date.today()"),
    (time_comes_from_the_clock, "app/worker.py", "from datetime import datetime\ndatetime.now"),
    (time_comes_from_the_clock, "app/worker.py", "from time import time_ns"),
    (settings_read_the_environment, "app/cli.py", "import os\nos.environ['HOME']"),
    (settings_read_the_environment, "app/cli.py", "from os import getenv"),
    (money_rounds, "domain/rating.py", "x = round(y, 2)"),
    (money_rounds, "app/schema/scalars.py", "x = y.quantize(z)"),
    (money_rounds, "domain/rating.py", "from decimal import ROUND_HALF_UP"),
    (money_rounds, "domain/rating.py", "import decimal\nx = decimal.ROUND_UP"),
    (numbers_are_exact, "domain/money.py", "x = 0.5"),
    (numbers_are_exact, "projections/current.py", "x = float(y)"),
    (numbers_are_exact, "domain/money.py", "def f(x: float) -> int: ..."),
    (files_are_short, "app/cli.py", "x = 1\n" * 401),
    (files_are_short, "app/client.py", "x = 1\n" * 561),
    (functions_are_short, "app/cli.py", "async def f():\n" + "    x = 1\n" * 60),
    (names_say_something, "app/date_utils.py", ""),
    (names_say_something, "app/cli.py", "class MeterManager: ..."),
    (names_say_something, "tests/spec.py", "def test_helper(): ..."),
    (everything_public_is_explained, "app/cli.py", "x = 1"),
    (everything_public_is_explained, "app/cli.py", '"""Doc."""\ndef main(): ...'),
    (everything_public_is_explained, "app/cli.py", '"""Doc."""\nif x:\n    class A: ...'),
    (everything_public_is_explained, "app/a.py", '"""D."""\nclass A:\n    "D"\n    def f(s): ...'),
    (everything_public_is_explained, "app/a.py", OVERRIDE.replace("NAME", "g")),
    (the_command_line_prints, "app/server.py", "print(1)"),
]

GOOD: list[tuple[Rule, str, str]] = [
    (rooms_import_downwards, "app/replay.py", "import domain.money, projections.engine"),
    (aggregates_stand_alone, "domain/rating.py", "from domain import prices, subscriptions"),
    (aggregates_stand_alone, "domain/settlements.py", "from domain.invoices import Invoice"),
    (domain_is_pure, "domain/usage.py", "import msgspec\nfrom domain import decider"),
    (libraries_have_one_door, "app/schema/prices.py", "import strawberry, msgspec, json"),
    (time_comes_from_the_clock, "app/writer.py", "import time\ntime.perf_counter()"),
    (time_comes_from_the_clock, "app/clock.py", "import time\ntime.time_ns()"),
    (time_comes_from_the_clock, "app/writer.py", "def f(clock):\n    clock.now()"),
    (settings_read_the_environment, "app/settings.py", "import os\nos.environ"),
    (money_rounds, "domain/money.py", "from decimal import ROUND_HALF_UP\nround(x)"),
    (numbers_are_exact, "domain/money.py", "x = isinstance(y, (float, int))"),
    (functions_are_short, "app/cli.py", "def f():\n" + "    x = 1\n" * 59),
    (names_say_something, "domain/customers.py", "class Serviceable: ..."),
    (everything_public_is_explained, "app/a.py", '"""D."""\n@field(description="x")\ndef f(): ...'),
    (everything_public_is_explained, "app/a.py", '"""D."""\ndef _f():\n    def g(): ...'),
    (everything_public_is_explained, "app/a.py", OVERRIDE.replace("NAME", "f")),
    (the_command_line_prints, "app/cli.py", "print(1)"),
]


@pytest.mark.parametrize("rule", READS, ids=lambda rule: rule.__name__)
def test_the_code_keeps(rule: Rule) -> None:
    findings = broken(rule, python_files(*READS[rule]))
    assert not findings, f"{rule.__doc__}\n{findings}"


@pytest.mark.parametrize(("rule", "path", "code"), examples(BAD))
def test_the_rule_notices(rule: Rule, path: str, code: str) -> None:
    assert broken(rule, [Source(path, code)]).startswith(f"{path}:")


@pytest.mark.parametrize(("rule", "path", "code"), examples(GOOD))
def test_the_rule_allows(rule: Rule, path: str, code: str) -> None:
    assert not broken(rule, [Source(path, code)])


def test_every_rule_has_a_snippet_that_breaks_it() -> None:
    assert {rule for rule, _, _ in BAD} == set(READS)
