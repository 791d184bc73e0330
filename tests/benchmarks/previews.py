"""Somebody who previews an invoice now and then, in a process of its own, while others send usage.

`python -m tests.benchmarks.previews URL SUBSCRIPTION` goes on until its standard input ends, and
prints how long each preview took. It does nothing else: whoever sends usage at the same time would
keep its own questions waiting.
"""

import http.client
import select
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from time import perf_counter
from urllib.parse import urlsplit

import msgspec

from tests.benchmarks import report
from tests.house import ROOT

PREVIEW = (
    "query Preview($id: ID!) { invoicePreview(subscriptionId: $id) "
    "{ total { amount } lines { description amount { amount } } } }"
)
_BETWEEN_S = 0.05
_TYPE = {"Content-Type": "application/json"}
_AT_ONCE_S = 30


class Asked(msgspec.Struct, frozen=True):
    """One preview: when it was asked for, by a clock of the whole machine, and how long it took."""

    at: float
    seconds: float


class Previews:
    """What was previewed while the block lasted, once it has ended."""

    def __init__(self) -> None:
        self.asked: list[Asked] = []

    def p99(self, spans: Sequence[tuple[float, float]]) -> str:
        """The 99th percentile of those asked for in these spans of time; empty for none."""
        during = [
            one.seconds for one in self.asked if any(start <= one.at <= end for start, end in spans)
        ]
        return report.millis(report.percentile(during, 99)) if during else ""


@contextmanager
def previewing(url: str, subscription_id: str) -> Iterator[Previews]:
    """Have an invoice previewed by a server for as long as the block lasts."""
    found = Previews()
    command = [sys.executable, "-m", "tests.benchmarks.previews", url, subscription_id]
    with subprocess.Popen(
        command, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as process:
        yield found
        printed, _ = process.communicate()
    assert process.returncode == 0, "the previews failed"
    found.asked = msgspec.json.decode(printed, type=list[Asked])


def _preview_on(url: str, subscription_id: str) -> list[Asked]:
    """Preview until standard input ends, over one connection."""
    asked: list[Asked] = []
    address = urlsplit(url)
    assert address.hostname, f"{url} names no host"
    connection = http.client.HTTPConnection(address.hostname, address.port, timeout=_AT_ONCE_S)
    body = msgspec.json.encode({"query": PREVIEW, "variables": {"id": subscription_id}})
    while not select.select([sys.stdin], [], [], _BETWEEN_S)[0]:
        at = perf_counter()
        connection.request("POST", "/graphql", body, _TYPE)
        content = connection.getresponse().read()
        asked.append(Asked(at, perf_counter() - at))
        assert b'"lines":[{' in content, content[:1_000]
    return asked


if __name__ == "__main__":
    print(msgspec.json.encode(_preview_on(*sys.argv[1:])).decode())
