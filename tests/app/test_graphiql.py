"""The explorer in a real browser: it runs its story, stays at home and forgets headers."""

import json
import time
from collections.abc import Iterator
from typing import Any, Protocol
from urllib.parse import urlsplit

import pytest

from app.graphiql import ASSETS, CONTENT_SECURITY_POLICY, tabs
from tests.app.browser import Browser, chromium

pytestmark = pytest.mark.skipif(chromium() is None, reason="no Chromium is installed")

TITLES = [tab["title"] for tab in tabs({})]
SECRET = "key_never_to_be_stored"
# The page writes to the browser's storage half a second after the last change.
STORED_S = 1.0

EDITORS_READY = "globalThis.__MONACO?.editor.getEditors().length === 4"
TAB_TITLES = "[...document.querySelectorAll('.graphiql-tab-button')].map(tab => tab.textContent)"
REQUEST_TEXT = "__MONACO.editor.getModels().find(m => m.uri.path.endsWith('operation.graphql'))"
ANSWER_TEXT = "__MONACO.editor.getModels().find(m => m.uri.path.endsWith('response.json'))"
STORAGE_TEXT = "JSON.stringify([{...localStorage}, {...sessionStorage}])"


class Server(Protocol):
    """A running server with demo data."""

    @property
    def url(self) -> str: ...


@pytest.fixture(scope="module")
def page(server: Server) -> Iterator[Browser]:
    """The page just opened, in a browser that has never seen it."""
    with Browser() as browser:
        open_page(browser, server)
        yield browser


def open_page(browser: Browser, server: Server) -> None:
    browser.navigate(f"{server.url}/graphiql")
    browser.wait_for(EDITORS_READY)


def show(browser: Browser, title: str) -> None:
    """Brings a tab to the front and waits until its request is the one to run."""
    browser.click(f"#graphiql-session-tab-{TITLES.index(title)}")
    browser.wait_for(f"{REQUEST_TEXT}.getValue().includes({json.dumps(title)})")
    # The page learns the request's new name a tenth of a second after its text.
    time.sleep(0.3)


def run(browser: Browser) -> Any:
    """Presses the execute button and waits for the answer."""
    browser.click(".graphiql-execute-button")
    text = browser.wait_for(
        f"!document.querySelector('.graphiql-spinner') && {ANSWER_TEXT}.getValue()"
    )
    return json.loads(text)


def user_errors(answer: Any) -> list[Any]:
    """All refusals anywhere in an answer."""
    if isinstance(answer, list):
        return [error for item in answer for error in user_errors(item)]
    if isinstance(answer, dict):
        return [*answer.get("userErrors", []), *user_errors(list(answer.values()))]
    return []


def test_the_page_shows_the_story(page: Browser) -> None:
    assert page.evaluate("document.title") == "Tallybook explorer"
    assert page.evaluate("document.querySelector('.graphiql-logo').textContent") == "Tallybook"
    assert page.evaluate(TAB_TITLES) == TITLES


def test_the_first_tab_runs_as_it_stands(page: Browser) -> None:
    show(page, TITLES[0])
    answer = run(page)
    assert "errors" not in answer
    assert answer["data"]["aggregationPreview"]["recordCount"] == 3


@pytest.mark.parametrize("title", TITLES)
def test_every_tab_runs_twice(page: Browser, title: str) -> None:
    for _ in range(2):
        show(page, title)
        answer = run(page)
        assert "errors" not in answer
        assert answer["data"]
        assert user_errors(answer) == []


def test_the_ledger_is_watched_as_it_grows(page: Browser) -> None:
    show(page, "WatchTheLedger")
    if page.evaluate("!!document.querySelector('[aria-label^=Stop]')"):
        page.click(".graphiql-execute-button")
    page.click(".graphiql-execute-button")
    page.wait_for("!!document.querySelector('[aria-label^=Stop]')")
    page.wait_for(f"{ANSWER_TEXT}.getValue().includes('ledgerEventAdded')")
    for name in ("Seen at once", "Seen next"):
        page.evaluate(
            "fetch('/graphql', {method: 'POST', headers: {'content-type': 'application/json'},"
            " body: JSON.stringify({query: 'mutation { createCustomer(input: {name: "
            f'"{name}"'
            "}) { position } }'})}).then(r => r.json())"
        )
        page.wait_for(f"{ANSWER_TEXT}.getValue().includes('{name}')")
    page.click(".graphiql-execute-button")
    page.wait_for("!document.querySelector('[aria-label^=Stop]')")


def test_a_page_may_open_a_websocket_to_its_own_server(page: Browser) -> None:
    begun = page.evaluate(
        "new Promise((resolve, reject) => {"
        " const s = new WebSocket(location.origin.replace('http', 'ws') + '/graphql',"
        " 'graphql-transport-ws');"
        """ s.onopen = () => s.send('{"type": "connection_init"}');"""
        " s.onmessage = (message) => { s.close(); resolve(message.data) };"
        " s.onerror = () => reject(new Error('refused')) })"
    )
    assert json.loads(begun) == {"type": "connection_ack"}


def test_the_schema_reaches_the_page(page: Browser) -> None:
    page.click("[aria-label='Show Documentation Explorer']")
    page.wait_for("document.querySelector('.graphiql-doc-explorer')?.textContent.includes('Query')")
    page.click("[aria-label='Hide Documentation Explorer']")


def test_formatting_keeps_the_request_and_its_variables(page: Browser) -> None:
    show(page, "QuotePrice")
    page.click("[aria-label^='Prettify']")
    time.sleep(STORED_S)
    answer = run(page)
    assert "errors" not in answer
    assert page.evaluate(f"{REQUEST_TEXT}.getValue()").startswith("# 5. ")


def test_headers_are_sent_and_never_stored(page: Browser, server: Server) -> None:
    show(page, TITLES[0])
    page.click("[data-name='headers']")
    page.click(".graphiql-editor-tool .graphiql-editor:not(.hidden) .view-lines")
    page.insert(f'{{"X-Explorer-Test": "{SECRET}"}}')
    time.sleep(STORED_S)
    assert "errors" not in run(page)
    assert page.sent_header("x-explorer-test") == SECRET
    time.sleep(STORED_S)
    stored = page.evaluate(STORAGE_TEXT)
    assert TITLES[0] in stored
    assert SECRET not in stored
    open_page(page, server)
    assert SECRET not in page.evaluate("__MONACO.editor.getModels().map(m => m.getValue()).join()")


def test_edits_are_there_again_after_a_reload(page: Browser, server: Server) -> None:
    show(page, "CreateCustomer")
    page.evaluate(f"{REQUEST_TEXT}.setValue('# mine\\nquery CreateCustomer {{ __typename }}')")
    time.sleep(STORED_S)
    open_page(page, server)
    assert page.evaluate(TAB_TITLES) == TITLES
    assert page.evaluate(f"{REQUEST_TEXT}.getValue()").startswith("# mine")


def test_another_ledger_starts_the_story_afresh(page: Browser, server: Server) -> None:
    # As if this browser had so far looked at another ledger under the same address.
    time.sleep(STORED_S)
    ledger = page.evaluate("fetch('/graphiql/tabs.json').then(r => r.json()).then(j => j.ledger)")
    page.evaluate(
        "Object.entries({...localStorage}).forEach(([key, value]) => {"
        " localStorage.removeItem(key);"
        f" localStorage.setItem(key.replace({json.dumps(ledger)}, 'led_other'), value) }})"
    )
    open_page(page, server)
    assert page.evaluate(f"{REQUEST_TEXT}.getValue()").startswith("# 1. ")
    assert page.evaluate(TAB_TITLES) == TITLES


def test_nothing_left_the_origin_and_nothing_was_refused(page: Browser, server: Server) -> None:
    addresses = {urlsplit(url) for url in page.requests}
    assert {url.scheme for url in addresses} <= {"http", "ws", "data"}
    assert {url.netloc for url in addresses if url.scheme != "data"} == {
        urlsplit(server.url).netloc
    }
    assert page.problems == []


def test_the_policy_is_the_one_in_force(page: Browser) -> None:
    header = page.evaluate("fetch(location).then(r => r.headers.get('content-security-policy'))")
    assert header == CONTENT_SECURITY_POLICY


def test_the_build_is_complete_and_has_no_source_maps() -> None:
    names = {path.name for path in ASSETS.rglob("*")}
    assert {"index.html", "favicon.svg", "LICENSES.txt"} <= names
    assert not [name for name in names if name.endswith(".map")]
