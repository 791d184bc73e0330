"""Hold every text file to the house rules: no reasonless comment, no address of a machine."""

import re
from collections.abc import Iterator

import pytest

from tests.house import ROOMS, Finding, Rule, Source, broken, examples, python_files, text_files

# Spelled so that this file does not contain what it looks for.
REGISTRY = re.compile(
    r"""https?://[^\s"']+\.(?:whl|tgz|tar\.(?:gz|bz2|xz))\b"""
    r"""|(?:extra-)?index[-_]url|"resolved":\s*"http"""
    r"""|registry\.(?:npmjs|yarnpkg)\.|files\.pythonhosted\.|pypi\.org/simple"""
)
MACHINE = re.compile(
    r"(?<![\w.~-])/(?:work|farm|root|home/[\w.-]+|Users/[\w.-]+)/|\b[A-Z]:\\Users\\", re.MULTILINE
)

SILENCED = re.compile(r"#\s*(?:noqa|type:\s*ignore|pragma:)[^#]*", re.IGNORECASE)
CODED = re.compile(
    r"#\s*(?:noqa:\s*[A-Z]+\d+(?:,\s*[A-Z]+\d+)*|type:\s*ignore\[[\w, -]+\]|pragma: no \w+)"
)
POSTPONED = re.compile(r"\b(?:TODO|FIXME|XXX|HACK)\b")


def nothing_is_postponed(source: Source) -> Iterator[Finding]:
    """A comment does not promise work: it is done, or it is an issue."""
    for line, comment in source.comments(POSTPONED):
        yield Finding(source.path, line, comment)


def silence_has_a_reason(source: Source) -> Iterator[Finding]:
    """Whoever silences a tool names the one complaint meant and says why, in words."""
    for line, comment in source.comments(SILENCED):
        for directive in SILENCED.finditer(comment):
            coded = CODED.match(directive[0])
            reason = comment[directive.start() + len(coded[0]) :] if coded else ""
            if len(re.findall(r"[A-Za-z]{2,}", CODED.sub("", reason))) < 2:
                yield Finding(source.path, line, f"without code or reason: {comment}")


def no_registry_is_named(source: Source) -> Iterator[Finding]:
    """Packages are pinned by hash; where they are fetched from is the machine's own matter."""
    yield from matching(source, REGISTRY)


def no_machine_is_named(source: Source) -> Iterator[Finding]:
    """No path leads into a developer's own folders; built assets may hold anything."""
    if not source.path.startswith("app/static/"):
        yield from matching(source, MACHINE)


def matching(source: Source, pattern: re.Pattern[str]) -> Iterator[Finding]:
    """Every line that the pattern is found in."""
    for line, text in enumerate(source.text.splitlines(), start=1):
        if found := pattern.search(text):
            yield Finding(source.path, line, found[0])


COMMENT_RULES: list[Rule] = [nothing_is_postponed, silence_has_a_reason]
TEXT_RULES: list[Rule] = [no_registry_is_named, no_machine_is_named]

BAD: list[tuple[Rule, str]] = [
    (nothing_is_postponed, "x = 1  # TODO: later"),
    (silence_has_a_reason, "x = 1  # noqa"),
    (silence_has_a_reason, "x = 1  # noqa: E501"),
    (silence_has_a_reason, "x = 1  # noqa because it is long"),
    (silence_has_a_reason, "x = 1  # type: ignore[misc]"),
    (silence_has_a_reason, "x = 1  # type: ignore[misc]  # noqa: E501"),
    (silence_has_a_reason, "x = 1  # pragma: no cover"),
    (no_registry_is_named, "https" + "://host.example/a-1.0.whl"),
    (no_registry_is_named, "--" + "index-" + "url = x"),
    (no_registry_is_named, '"resolved": ' + '"https' + '://host.example/a"'),
    (no_machine_is_named, "cd /" + "work/project"),
    (no_machine_is_named, "path = '/" + "home/ann/project'"),
    (no_machine_is_named, "/" + "Users/ann/project"),
]

GOOD: list[tuple[Rule, str]] = [
    (nothing_is_postponed, "x = 'TODO'  # ISO 4217 has XTS for tests"),
    (silence_has_a_reason, "x = 1  # noqa: E501 - a table reads better in one line"),
    (silence_has_a_reason, "x = f()  # type: ignore[misc]  # the library has no types"),
    (no_registry_is_named, "see https" + "://host.example/guide"),
    (no_machine_is_named, "https" + "://host.example/work/project and app/root/x"),
]


@pytest.mark.parametrize("rule", COMMENT_RULES, ids=lambda rule: rule.__name__)
def test_the_comments_keep(rule: Rule) -> None:
    findings = broken(rule, python_files(*ROOMS, "tests"))
    assert not findings, f"{rule.__doc__}\n{findings}"


@pytest.mark.parametrize("rule", TEXT_RULES, ids=lambda rule: rule.__name__)
def test_every_text_keeps(rule: Rule) -> None:
    findings = broken(rule, text_files())
    assert not findings, f"{rule.__doc__}\n{findings}"


@pytest.mark.parametrize(("rule", "text"), examples(BAD))
def test_the_rule_notices(rule: Rule, text: str) -> None:
    assert broken(rule, [Source("app/example.py", text)])


@pytest.mark.parametrize(("rule", "text"), examples(GOOD))
def test_the_rule_allows(rule: Rule, text: str) -> None:
    assert not broken(rule, [Source("app/example.py", text)])


def test_every_rule_has_a_snippet_that_breaks_it() -> None:
    assert {rule for rule, _ in BAD} == {*COMMENT_RULES, *TEXT_RULES}
