"""Clients that were written for an earlier schema go on working with this one.

The schema is compared with the one of the last commit, of the one before it, and of the last tagged
version. What breaks clients has to be decided on: its line goes to `allowed_breaking_changes.txt`.
"""

import re
import subprocess
from collections.abc import Iterator, Mapping
from typing import Any

import pytest
from graphql import GraphQLSchema, build_schema, find_breaking_changes

from app.schema import sdl
from tests.house import ROOT

ALLOWED = ROOT / "tests" / "golden" / "allowed_breaking_changes.txt"
VERSIONS = {
    "the last commit": ["rev-parse", "--verify", "HEAD"],
    "the commit before it": ["rev-parse", "--verify", "HEAD^"],
    "the last version": ["describe", "--tags", "--abbrev=0"],
}
"""The earlier schemas, and how git finds the commit of each."""

HOW_TO_ALLOW = f"""Clients that work with {{version}} break by this.
Keep what they use, with @deprecated(reason: "... since YYYY-MM-DD ...") if it is to go one day.
If it was decided on all the same, add the lines to {ALLOWED.relative_to(ROOT)}, with the reason."""

DATE = re.compile(r"\b20\d\d-[01]\d-[0-3]\d\b")


def git(*arguments: str) -> str:
    """What git prints; skips the test when there is no git, or nothing to print."""
    try:
        done = subprocess.run(["git", *arguments], cwd=ROOT, capture_output=True, check=True)
    except (OSError, subprocess.CalledProcessError):
        pytest.skip(f"git {arguments[0]} has no answer here")
    return done.stdout.decode()


def allowed(text: str) -> set[str]:
    """The lines that are no comments."""
    lines = (line.strip() for line in text.splitlines())
    return {line for line in lines if line and not line.startswith("#")}


def breaking(earlier: str, now: str) -> set[str]:
    """What clients of the earlier schema would miss, or find changed."""
    found = find_breaking_changes(build_schema(earlier), build_schema(now))
    return {f"{change.type.name}: {change.description}" for change in found}


@pytest.mark.parametrize("version", VERSIONS)
def test_clients_of_an_earlier_version_go_on_working(version: str) -> None:
    commit = git(*VERSIONS[version]).strip()
    found = breaking(git("show", f"{commit}:schema.graphql"), sdl())
    lines = sorted(found - allowed(ALLOWED.read_text(encoding="utf-8")))
    assert not lines, "\n".join([HOW_TO_ALLOW.format(version=version), *lines])


@pytest.mark.parametrize(
    ("now", "line"),
    [
        ("type Query { b: Int }", "FIELD_REMOVED: Field Query.a was removed."),
        (
            "type Query { a(b: Int!): Int b: Int }",
            "REQUIRED_ARG_ADDED: A required argument Query.a(b:) was added.",
        ),
        (
            "type Query { a: String b: Int }",
            "FIELD_CHANGED_KIND: Field Query.a changed type from Int to String.",
        ),
    ],
)
def test_what_breaks_clients_is_named(now: str, line: str) -> None:
    assert breaking("type Query { a: Int b: Int }", now) == {line}
    assert allowed(f"# The reason.\n\n  {line}\n") == {line}


def test_what_is_only_more_breaks_nobody() -> None:
    more = "type Query { b: Int! a(c: Int = 1, d: String): Int! e: ID }"
    assert not breaking("type Query { a: Int b: Int }", more)


def undated(schema: GraphQLSchema) -> Iterator[str]:
    """Everything deprecated without a date in its reason."""
    for type in schema.type_map.values():
        members: Mapping[str, Any] = {**getattr(type, "fields", {}), **getattr(type, "values", {})}
        for name, member in members.items():
            places = {name: member}
            for argument, given in getattr(member, "args", {}).items():
                places[f"{name}({argument})"] = given
            for place, one in places.items():
                reason = one.deprecation_reason
                if reason is not None and not DATE.search(reason):
                    yield f"{type.name}.{place}"


def test_whatever_is_deprecated_says_why_and_since_when() -> None:
    assert [*undated(build_schema(sdl()))] == []


def test_a_deprecation_without_a_date_is_found() -> None:
    schema = build_schema("""type Query {
        a: E @deprecated
        b(c: I @deprecated(reason: "use d"), d: Int): Int
        e: Int @deprecated(reason: "use b, since 2026-01-31")
      } enum E { F @deprecated(reason: "since last year") G } input I { h: Int @deprecated }""")
    assert sorted(undated(schema)) == ["E.F", "I.h", "Query.a", "Query.b(c)"]
