"""The program in the README that collects does collect, and listens to nobody but Tallybook."""

import json
import re
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.error import HTTPError
from urllib.request import Request, urlopen

import pytest

from tests import marks
from tests.app.receiving import PATIENCE_SECONDS, SECRET
from tests.benchmarks.serving import serving
from tests.house import ROOT
from tests.ports import free_port

pytestmark = marks.DOCS

README = (ROOT / "README.md").read_text(encoding="utf-8")
COLLECT = re.compile(r"<!-- run: collect\.py -->\n```python\n(.*?)```", re.DOTALL)
TALLYBOOK_URL, COLLECTOR_PORT = "http://127.0.0.1:8000", "9000"


@dataclass(frozen=True)
class Both:
    """A server that tells, and the README's program that is told."""

    tallybook: str
    collector: str

    def ask(self, query: str) -> Any:
        """The data of an answer of the server."""
        body = json.dumps({"query": query}).encode()
        asked = Request(f"{self.tallybook}/graphql", body, {"content-type": "application/json"})
        with urlopen(asked) as reply:
            answer = json.load(reply)
        assert "errors" not in answer
        return answer["data"]


@pytest.fixture
def both(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Both]:
    """A server with the demo, and the program, each knowing where the other is."""
    monkeypatch.setenv("TALLYBOOK_WEBHOOK_SECRET", SECRET)
    [script] = COLLECT.findall(README)
    port = free_port()
    collector = f"http://127.0.0.1:{port}/"
    with serving(tmp_path / "demo", "--demo", "--webhook-url", collector) as server:
        script = script.replace(TALLYBOOK_URL, server.url).replace(COLLECTOR_PORT, str(port))
        file = tmp_path / "collect.py"
        file.write_text(script, encoding="utf-8")
        quiet = subprocess.DEVNULL
        process = subprocess.Popen([sys.executable, str(file)], stdout=quiet, stderr=quiet)
        try:
            wait_for_listener(process, port)
            yield Both(server.url, collector)
        finally:
            process.kill()
            process.wait()


def wait_for_listener(process: "subprocess.Popen[bytes]", port: int) -> None:
    """Wait until the program listens."""
    deadline = time.monotonic() + PATIENCE_SECONDS
    while process.poll() is None and time.monotonic() < deadline:
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", port)) == 0:
                return
        time.sleep(0.05)
    pytest.fail("the program does not listen")


CREATED = """mutation { createSubscription(input: {customerId: "CUSTOMER", items: [
  {priceId: "PRICE", quantity: "2"}]}) { subscription { id } userErrors { message } } }"""
INVOICES = """{ invoices(subscriptionId: "SUBSCRIPTION") { nodes { id status total { amount }
  payments { amount { amount } reference } } } }"""


def test_the_program_collects_what_is_issued(both: Both) -> None:
    customer = both.ask('{ customers(externalId: "alpaca-lover") { nodes { id } } }')
    price = both.ask('{ prices(lookupKey: "alpaca-licence") { nodes { id } } }')
    ids = [found["nodes"][0]["id"] for found in (*customer.values(), *price.values())]
    asked = CREATED.replace("CUSTOMER", ids[0]).replace("PRICE", ids[1])
    subscription = both.ask(asked)["createSubscription"]["subscription"]["id"]
    deadline = time.monotonic() + PATIENCE_SECONDS
    while True:
        [invoice] = both.ask(INVOICES.replace("SUBSCRIPTION", subscription))["invoices"]["nodes"]
        if invoice["status"] != "OPEN" or time.monotonic() > deadline:
            break
        time.sleep(0.05)
    payment = {"amount": {"amount": "200.00"}, "reference": "what your processor calls it"}
    del invoice["id"]
    assert invoice == {"status": "PAID", "total": {"amount": "200.00"}, "payments": [payment]}


def test_the_program_listens_to_nobody_else(both: Both) -> None:
    headers = {
        "webhook-id": "led_1.1",
        "webhook-timestamp": str(int(time.time())),
        "webhook-signature": "v1,AAAA",
    }
    invoices = both.ask("{ invoices(status: OPEN) { nodes { id amountDue { amount } } } }")
    stolen = invoices["invoices"]["nodes"][0]
    said = {"id": stolen["id"], "status": "OPEN", "amountDue": "1.00", "number": "1"}
    body = json.dumps({"type": "invoice.finalized", "invoice": said}).encode()
    for sent in (headers, {**headers, "webhook-signature": ""}):
        with pytest.raises(HTTPError) as refused:
            urlopen(Request(both.collector, body, sent))
        with refused.value as answer:
            assert answer.code == 401
    assert both.ask("{ invoices(status: OPEN) { nodes { id amountDue { amount } } } }") == invoices
