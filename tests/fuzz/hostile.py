"""What is put where something sane is expected: texts, numbers, and any other JSON as text."""

import json
from collections.abc import Sequence
from random import Random

TEXTS: Sequence[str] = (
    *("", " ", "\x00", "a\x00b", "\ud800", "\udfff\ud800", "\u202e", "\ufeff", "\n", "\x7f"),
    *("x" * 128, "x" * 129, "x" * 255, "x" * 256, "é" * 128, "x" * 70_000, "😀" * 64),
    *("NaN", "Infinity", "-Infinity", "nan", "1e5", "1e999999999", "-1e-999999999", "0x10", "1_0"),
    *("9" * 18, "9" * 19, "9" * 20_000, "-" + "9" * 18, "0." + "9" * 12, "0." + "9" * 13),
    *("-0", "00", "01", ".5", "5.", "+1", " 1", "1 ", "٣", "1,5", "0.1e1", "--1", "-"),
    *("2026-13-01T00:00:00Z", "2026-02-30T00:00:00Z", "2026-01-01", "2026-01-01T00:00:00"),
    *("9999-12-31T23:59:59.999999Z", "0001-01-01T00:00:00Z", "0001-01-01T00:00:00+14:00"),
    *("9999-12-31T23:59:59-14:00", "2026-01-01T24:00:00Z", "2026-06-30T23:59:60Z"),
    *("2026-01-01T00:00:00+99:99", "10000-01-01T00:00:00Z", "-001-01-01T00:00:00Z", "now"),
    *("1969-12-31T23:59:59.9999999Z", "2026-01-01T00:00:00.123456789123456789Z", "1e18"),
    *("' OR 1=1 --", "../../etc/passwd", "${7*7}", "<script>", "%00", "%s%n", "__proto__"),
    *("cus_00000000000000000000000000", "met_", "_", "inv_" + "z" * 26, "led_\x00"),
)
"""Texts."""

NUMBERS: Sequence[str] = (
    *("0", "-0", "1", "-1", "1.5", "1e5", "1E400", "-1e400", "1e-400", "0.1e-7", "9" * 4_000),
    *("9223372036854775807", "9223372036854775808", "2147483648", "-2147483649", "1e309"),
    *("NaN", "Infinity", "-Infinity", "01", "1.", ".1", "+1", "0x1", "1e", "--1", "1_000"),
)
"""Numbers as they stand in JSON, and what is none."""

SOUND: Sequence[str] = (
    *("null", "true", "false", "[]", "{}", "[[]]", '{"a":{"a":{}}}', "[null]", "0", "-1", "1.5"),
    *("9" * 400, "-9223372036854775809", "2147483648", "1e30", "1e-30", '[{"a":1},2]', '{"":""}'),
)
"""Values that are JSON, whatever else is wrong with them."""

DEEP = 20_000


def text(random: Random) -> str:
    """A hostile text in JSON."""
    return json.dumps(random.choice(TEXTS), ensure_ascii=random.random() < 0.9)


def value(random: Random) -> str:
    """Any hostile value, as JSON text or as what is none."""
    kind = random.randrange(10)
    if kind < 5:
        return text(random)
    if kind < 7:
        return random.choice(NUMBERS)
    if kind < 8:
        return random.choice(["null", "true", "false", "[]", "{}", "[[]]", '{"a":{"a":{}}}'])
    if kind < 9:
        return flat(random, random.choice((0, 1, 20, 21, 200)))
    return nested(random)


def sound(random: Random) -> str:
    """A hostile value that leaves the JSON around it readable."""
    return text(random) if random.random() < 0.6 else random.choice(SOUND)


def flat(random: Random, size: int) -> str:
    """An object of hostile values, whose keys may be doubled."""
    keys = [text(random) if random.random() < 0.2 else f'"k{n}"' for n in range(size)]
    keys += keys[: random.randrange(3)]
    return "{" + ",".join(f"{key}:{simple(random)}" for key in keys) + "}"


def simple(random: Random) -> str:
    """A hostile text or number."""
    return text(random) if random.random() < 0.7 else random.choice(NUMBERS)


def nested(random: Random) -> str:
    """Lists or objects in each other, perhaps without their ends."""
    depth = random.choice((2, 50, 900, 1_100, DEEP))
    begin, end = random.choice((("[", "]"), ('{"a":', "}")))
    return begin * depth + "1" + end * (depth if random.random() < 0.7 else 0)


def damaged(random: Random, body: bytes) -> bytes:
    """The body with something cut off, doubled or overwritten."""
    if not body:
        return body
    at, kind = random.randrange(len(body)), random.randrange(5)
    if kind == 0:
        return body[:at]
    if kind == 1:
        return body[at:]
    if kind == 2:
        return body[:at] + random.randbytes(random.choice((1, 2, 8))) + body[at:]
    if kind == 3:
        return body[:at] + random.randbytes(1) + body[at + 1 :]
    return body[:at] + body[: random.randrange(len(body))] + body[at:]
