"""New ids are new, whoever makes them: threads, and processes that began as one."""

import os
from concurrent.futures import ThreadPoolExecutor

import pytest

from app.clock import new_id

MANY = 2_000


def made(_: object = None) -> list[str]:
    return [new_id("x") for _ in range(MANY)]


def test_ids_of_one_thread_ascend() -> None:
    ids = made()
    assert ids == sorted(set(ids))


def test_threads_make_different_ids() -> None:
    with ThreadPoolExecutor(8) as pool:
        ids = [id for some in pool.map(made, range(8)) for id in some]
    assert len(set(ids)) == 8 * MANY


@pytest.mark.skipif(not hasattr(os, "fork"), reason="processes are not forked here")
@pytest.mark.filterwarnings("ignore:.*multi-threaded.*:DeprecationWarning")
def test_a_forked_process_makes_other_ids() -> None:
    new_id("x")  # so that chance was drawn before
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        os.write(writing, " ".join(made()[:500]).encode())
        os._exit(0)
    os.close(writing)
    ours = made()[:500]
    with os.fdopen(reading) as pipe:
        theirs = pipe.read().split()
    os.waitpid(child, 0)
    assert len(theirs) == 500
    assert not {id[-16:] for id in ours} & {id[-16:] for id in theirs}
