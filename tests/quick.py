"""What makes the whole suite quick, whatever is tested: nothing is done twice, or waits for a disk.

Compiled modules are kept, even where the environment says otherwise: more than a hundred processes
import them. Where there is a disk in memory, and room on it, tests write there.
"""

import gc
import importlib
import os
import shutil
import sys
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from tests.house import ROOT
from tests.postgres import MEMORY
from tests.stores import leave_out, named_store

ROOM_BYTES = 4 * 1024**3
_TEMPORARY = "PYTEST_DEBUG_TEMPROOT"


def keep_compiled() -> None:
    """Let this process, and those that it starts, keep what they compile."""
    sys.dont_write_bytecode = False
    os.environ.pop("PYTHONDONTWRITEBYTECODE", None)


def write_to_memory() -> None:
    """Let temporary directories be in memory."""
    if MEMORY.is_dir() and shutil.disk_usage(MEMORY).free > ROOM_BYTES:
        os.environ.setdefault(_TEMPORARY, str(MEMORY))


def pytest_collection(session: pytest.Session) -> None:
    """Each worker begins to compile at another module, and finds there what others compiled."""
    worker = getattr(session.config, "workerinput", None)
    if worker is None or session.config.args != session.config.getini("testpaths"):
        return
    files = sorted(ROOT.glob("tests/**/test_*.py"))
    number, workers = int(worker["workerid"].removeprefix("gw")), worker["workercount"]
    begin = len(files) * number // workers
    for file in files[begin:] + files[:begin]:
        with suppress(Exception):  # collecting it says what is wrong
            importlib.import_module(".".join(Path(file).relative_to(ROOT).with_suffix("").parts))


def pytest_collection_finish() -> None:
    """What is imported by now stays: no more need to look again and again whether it could go.

    What comes is looked at less often, too: of twenty seconds that saves one.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(50_000, 20, 50)


def pytest_sessionfinish() -> None:
    """At the end it may go."""
    gc.unfreeze()


DEAR = tuple(
    f"tests/{name}.py"
    for name in (
        *("app/test_matrix", "app/test_deadlines", "test_simulation", "app/test_shutdown"),
        *("contract/test_ledgers", "test_scenarios", "app/test_graphiql", "app/test_tampering"),
        *("contract/test_views", "test_histories_as_of", "app/test_crash", "benchmarks/test_quick"),
        *("domain/test_aggregation", "app/test_live_ws", "app/test_schema_bad_input"),
        *("app/test_random_corrections", "app/test_changes_on_the_way", "test_webhook_docs"),
        *("projections/test_meter_summaries", "projections/test_usage_corrections"),
        *("projections/test_unrated_usage", "app/test_random_explanations", "app/test_live_sse"),
    )
)
"""What takes longest is begun first, so that at the end nobody waits for it."""


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """The dearest first; the order within a file stays."""
    leave_out(config, items)
    rank = {file: number for number, file in enumerate(DEAR)}
    items.sort(key=lambda item: rank.get(item.nodeid.partition("::")[0], len(DEAR)))


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> Any:
    """A worker takes a file at a time, on one store, in the order in which they stand."""
    from xdist.scheduler import LoadFileScheduling

    if config.getvalue("dist") != "loadfile":
        return None
    config.option.loadscopereorder = False
    scheduler = LoadFileScheduling(config, log)
    scheduler._split_scope = _portion
    return scheduler


def _portion(nodeid: str) -> str:
    return f"{nodeid.partition('::')[0]} {named_store(nodeid)}"
