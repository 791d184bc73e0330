"""An exported log that is not what was written: refused at a line, with nothing left behind."""

import hashlib
import io
import json
from pathlib import Path

import pytest

from app.cli import main
from app.exports import log_reading
from app.exports.log_import import imported
from app.exports.log_reading import BadLog
from tests import marks
from tests.app.test_exported_logs import Capture, folder, lines, numbers

pytestmark = marks.COMMANDS

__all__ = ["folder", "lines"]


def resealed(lines: list[bytes]) -> bytes:
    """The log with a last line that fits the others again, as somebody who means it would do."""
    body = b"".join(lines[:-1])
    last = json.loads(lines[-1])
    last |= {"lines": len(lines) - 1, "sha256": hashlib.sha256(body).hexdigest()}
    return body + json.dumps(last).encode() + b"\n"


def flip(line: bytes) -> bytes:
    """The line with another character in the middle of it, in a text rather than in the JSON."""
    at = len(line) // 2
    return line[:at] + (b"A" if line[at : at + 1] != b"A" else b"B") + line[at + 1 :]


@pytest.mark.parametrize("kind", ["event", "digests"])
def test_a_changed_byte_is_found_where_it_is(lines: list[bytes], tmp_path: Path, kind: str) -> None:
    for number in numbers(lines, kind)[1:]:
        changed = list(lines)
        changed[number - 1] = flip(lines[number - 1])
        refused(b"".join(changed), number, tmp_path)


def test_a_changed_key_is_found_at_the_end(lines: list[bytes], tmp_path: Path) -> None:
    number = numbers(lines, "key")[0]
    changed = list(lines)
    key = json.loads(lines[number - 1])
    key["digest"] = f"{int(key['digest'], 16) ^ 1:032x}"
    changed[number - 1] = json.dumps(key).encode() + b"\n"
    assert "not those that were written" in refused(b"".join(changed), len(lines), tmp_path)


@pytest.mark.parametrize("kind", ["event", "digests"])
def test_a_line_that_is_missing_or_stands_elsewhere(
    lines: list[bytes], tmp_path: Path, kind: str
) -> None:
    number = numbers(lines, kind)[1]
    missing = [*lines[: number - 1], *lines[number:]]
    refused(resealed(missing), number, tmp_path)
    swapped = list(lines)
    swapped[number - 1 : number + 1] = lines[number], lines[number - 1]
    refused(resealed(swapped), number, tmp_path)
    twice = [*lines[:number], *lines[number - 1 :]]
    refused(resealed(twice), number + 1, tmp_path)


def test_keys_out_of_order_or_twice(lines: list[bytes], tmp_path: Path) -> None:
    together = next(
        number for number in numbers(lines, "key") if number + 1 in numbers(lines, "key")
    )
    swapped = list(lines)
    swapped[together - 1 : together + 1] = lines[together], lines[together - 1]
    assert "out of order" in refused(resealed(swapped), together + 1, tmp_path)
    first, last = numbers(lines, "key")[0], numbers(lines, "key")[-1]
    again = list(lines)
    position = json.loads(lines[last - 1])["position"]
    copy = json.loads(lines[first - 1]) | {"position": position}
    again[last - 1] = json.dumps(copy).encode() + b"\n"
    assert "stands there twice" in refused(resealed(again), last, tmp_path)


def test_a_key_that_an_event_claims_and_that_is_gone(lines: list[bytes], tmp_path: Path) -> None:
    number = numbers(lines, "key")[0]
    left = resealed([*lines[: number - 1], *lines[number:]])
    file = tmp_path / "log.jsonl"
    file.write_bytes(left)
    assert main(["import", "--data", str(tmp_path / "copy"), str(file)]) == 2
    assert not (tmp_path / "copy").exists()


def test_an_end_that_is_none(lines: list[bytes], tmp_path: Path) -> None:
    body, end = lines[:-1], lines[-1]
    for broken, message in (
        (body, "its last line is missing"),
        ([*body, end[:-1]], "the line is cut short"),
        ([*lines, end], "has ended already"),
        ([*lines, lines[1]], "has ended already"),
        ([*lines, b"\n"], "no line of a log"),
        ([*body[:-1], end], "the log should end at"),
        ([b" " + lines[0], *lines[1:]], "not those that were written"),
    ):
        assert message in refused(b"".join(broken), None, tmp_path)


@pytest.mark.parametrize(
    ("line", "message"),
    [
        (b"", "cut short"),
        (b"no JSON\n", "no line of a log"),
        (b"\xff\xfe\n", "no line of a log"),
        (b"[" * 100_000 + b"\n", "no line of a log"),
        (b'{"kind":"log"}\n', "no line of a log"),
        (b'{"format":"tallybook.log/2"}\n', "the format is 'tallybook.log/2'"),
        (b'{"kind":"log","format":"other/1","x":1}\n', "the format is 'other/1'"),
    ],
)
def test_a_first_line_of_something_else(
    lines: list[bytes], tmp_path: Path, line: bytes, message: str
) -> None:
    if not line:
        assert "last line is missing" in refused(b"", 1, tmp_path)
        return
    assert message in refused(b"".join([line, *lines[1:]]), 1, tmp_path)


@pytest.mark.parametrize("changes", [{"ledger": "led_other"}, {"name": "other"}])
def test_another_ledger_than_that_of_the_first_event(
    lines: list[bytes], tmp_path: Path, changes: dict[str, str]
) -> None:
    opening = json.dumps(json.loads(lines[0]) | changes).encode() + b"\n"
    assert "another ledger" in refused(resealed([opening, *lines[1:]]), 2, tmp_path)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"position": -1}, "no line of a log"),
        ({"position": 10**30}, "no line of a log"),
        ({"version": "1"}, "no line of a log"),
        ({"state": "%%%"}, "no line of a log"),
        ({"more": 1}, "no line of a log"),
        ({"kind": "other"}, "no line of a log"),
        ({"hash": ""}, "does not hash"),
        ({"topic": "other/1"}, "does not hash"),
    ],
)
def test_an_event_that_is_none(
    lines: list[bytes], tmp_path: Path, changes: dict[str, object], message: str
) -> None:
    changed = list(lines)
    changed[1] = json.dumps(json.loads(lines[1]) | changes).encode() + b"\n"
    assert message in refused(b"".join(changed), 2, tmp_path)


def test_a_line_without_end_is_not_read_to_its_end(
    lines: list[bytes], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Endless(io.BytesIO):
        """A line that goes on for ever."""

        most = 0

        def readline(self, size: int | None = -1, /) -> bytes:
            assert size is not None
            self.most = max(self.most, size)
            return b" " * size

    monkeypatch.setattr(log_reading, "LINE_BYTES", 1_000)
    endless = Endless()
    with pytest.raises(BadLog, match="line 1: the line is longer than 1000 bytes"):
        imported(endless, tmp_path / "copy")
    assert endless.most == 1_001
    assert not (tmp_path / "copy").exists()


def refused(content: bytes, line: int | None, folder: Path) -> str:
    """What an import says of a broken log; it names the line, and leaves nothing behind."""
    with pytest.raises(BadLog) as found:
        imported(io.BytesIO(content), folder / "copy")
    assert line in (None, found.value.line)
    assert str(found.value).startswith(f"line {found.value.line}: ")
    assert not (folder / "copy").exists()
    return str(found.value)


def test_the_command_says_which_line(lines: list[bytes], tmp_path: Path, capsys: Capture) -> None:
    file = tmp_path / "log.jsonl"
    file.write_bytes(b"".join(lines[:-1]))
    assert main(["import", "--data", str(tmp_path / "copy"), str(file)]) == 2
    assert f"tallybook: line {len(lines)}: the log is cut short" in capsys.readouterr().err
    assert main(["import", "--data", str(tmp_path / "copy"), str(tmp_path / "none")]) == 2
    assert "none" in capsys.readouterr().err
