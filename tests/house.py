"""Read the files of this repository for the tests that enforce its house rules."""

import ast
import io
import os
import re
import subprocess
import tokenize
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from functools import cache, cached_property
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parent.parent
ROOMS = ("app", "domain", "projections")

SKIPPED_FOLDERS = {"node_modules", "build", "dist", "__pycache__"}
"""Folders passed over when git cannot say what belongs here; so are those with a leading dot."""


@dataclass(frozen=True, order=True)
class Finding:
    """A place that breaks a rule, printed the way editors and terminals link it."""

    path: str
    line: int
    what: str

    def __str__(self) -> str:
        return f"{self.path}:{self.line} {self.what}"


@dataclass(frozen=True)
class Source:
    """One text file; for Python also its syntax tree and its comments."""

    path: str
    text: str

    @cached_property
    def tree(self) -> ast.Module:
        """The syntax tree."""
        return ast.parse(self.text, self.path)

    @cached_property
    def nodes(self) -> tuple[ast.AST, ...]:
        """Every node of the syntax tree."""
        return tuple(ast.walk(self.tree))

    @property
    def room(self) -> str:
        """The top folder: `domain` for `domain/pricing/graduated.py`."""
        return self.path.split("/", 1)[0]

    @property
    def module(self) -> str:
        """The name this file is imported by: `domain.pricing` for `domain/pricing/__init__.py`."""
        return self.path.removesuffix(".py").removesuffix("/__init__").replace("/", ".")

    def at(self, node: ast.AST, what: str) -> Finding:
        """A finding at a node of this file."""
        return Finding(self.path, getattr(node, "lineno", 1), what)

    def comments(self, holding: re.Pattern[str]) -> Iterator[tuple[int, str]]:
        """Each comment that holds a pattern, with its line; strings that look like it are none."""
        if not holding.search(self.text):
            return
        for token in tokenize.generate_tokens(io.StringIO(self.text).readline):
            if token.type == tokenize.COMMENT and holding.search(token.string):
                yield token.start[0], token.string


Rule = Callable[[Source], Iterator[Finding]]
"""Reads one file and names every place in it that breaks the rule."""


def within(path: str, places: Iterable[str]) -> bool:
    """Whether a file is one of the places, or lies in one that ends with a slash."""
    return any(
        path == place or (place.endswith("/") and path.startswith(place)) for place in places
    )


def imports(source: Source) -> Iterator[tuple[ast.stmt, str, str]]:
    """Each import as (node, full dotted name, name it is bound to here).

    >>> [name for _, name, _ in imports(Source("domain/a.py", "from domain import money as m"))]
    ['domain.money']
    """
    for node in source.nodes:
        if isinstance(node, ast.Import):
            for alias in node.names:
                yield node, alias.name, alias.asname or alias.name.split(".")[0]
        elif isinstance(node, ast.ImportFrom):
            for alias in node.names:
                name = f"{imported_from(source, node)}.{alias.name}"
                yield node, name, alias.asname or alias.name


def imported_from(source: Source, node: ast.ImportFrom) -> str:
    """The module behind `from ... import`, with leading dots resolved."""
    if not node.level:
        return node.module or ""
    package = source.module.split(".")
    if source.path.endswith("/__init__.py"):
        package = [*package, ""]
    parts = [*package[: -node.level], *([node.module] if node.module else [])]
    return ".".join(parts)


def mentions(source: Source) -> Iterator[tuple[ast.expr, str]]:
    """Each mention of something imported, by its full name however it was imported or renamed.

    >>> code = "from datetime import datetime as d\\nd.now()"
    >>> [name for _, name in mentions(Source("app/a.py", code))]
    ['datetime.datetime.now', 'datetime.datetime']
    """
    bound = {
        bind: name.split(".")[0]
        if isinstance(node, ast.Import) and bind == name.split(".")[0]
        else name
        for node, name, bind in imports(source)
    }
    for node in source.nodes:
        if isinstance(node, ast.Attribute | ast.Name):
            first, _, rest = dotted(node).partition(".")
            if first in bound:
                yield node, f"{bound[first]}.{rest}" if rest else bound[first]


def dotted(node: ast.expr) -> str:
    """The name as written, `a.b.c`; empty for anything that is not a plain chain of names."""
    if isinstance(node, ast.Name):
        return node.id
    if isinstance(node, ast.Attribute):
        owner = dotted(node.value)
        return f"{owner}.{node.attr}" if owner else ""
    return ""


@cache
def text_files() -> tuple[Source, ...]:
    """Every text file that git tracks, or would track once it is added."""
    found = []
    for path in sorted(paths_by_git() or paths_by_walking()):
        try:
            found.append(Source(path, (ROOT / path).read_text(encoding="utf-8")))
        except (UnicodeDecodeError, FileNotFoundError, IsADirectoryError):
            continue  # an image, or a file deleted but not yet committed as such
    return tuple(found)


def python_files(*rooms: str) -> Iterator[Source]:
    """The Python files of some top folders."""
    return (f for f in text_files() if f.path.endswith(".py") and f.room in rooms)


def paths_by_git() -> set[str]:
    """The files git knows or would know; empty where there is no git or no checkout."""
    command = ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
    try:
        listing = subprocess.run(command, cwd=ROOT, capture_output=True, check=True, text=True)
    except (OSError, subprocess.CalledProcessError):
        return set()
    return {path for path in listing.stdout.split("\0") if path}


def paths_by_walking() -> set[str]:
    """The files below the root, without what tools leave behind."""
    found = set()
    for folder, folders, names in os.walk(ROOT):
        folders[:] = [
            f
            for f in folders
            if f not in SKIPPED_FOLDERS
            and (not f.startswith(".") or f == ".ci")
            and not f.endswith(".egg-info")
        ]
        found |= {(Path(folder) / name).relative_to(ROOT).as_posix() for name in names}
    return found


def broken(rule: Rule, sources: Iterable[Source]) -> str:
    """Every finding of a rule, one a line; empty when the rule is kept."""
    return "\n".join(str(finding) for source in sources for finding in sorted(set(rule(source))))


def examples(table: Iterable[tuple[Any, ...]]) -> list[Any]:
    """The rows of a table that begin with a rule, each named after its rule and its place."""
    return [pytest.param(*row, id=f"{row[0].__name__}-{n}") for n, row in enumerate(table)]
