"""The benchmarks at tiny sizes, so that they still run when somebody wants their figures."""

import pytest

from tests import marks
from tests.benchmarks import (
    batches,
    billing,
    explaining,
    group_commit,
    latency,
    many_items,
    over_http,
    postgres,
    processes,
    rebuild,
    replicas,
    scale,
    small_queries,
    verifying,
)
from tests.benchmarks.__main__ import main

pytestmark = marks.BENCHMARKS


def test_every_part_prints_its_table(capsys: pytest.CaptureFixture[str]) -> None:
    main(["--quick"])
    printed = capsys.readouterr().out
    parts = (batches, billing, group_commit, over_http, latency, many_items, rebuild)
    for part in (*parts, verifying, explaining, small_queries, postgres, processes, replicas):
        assert f"## {part.TITLE}\n" in printed


def test_the_writer_at_scale_prints_its_tables(capsys: pytest.CaptureFixture[str]) -> None:
    main(["--quick", "--only", "scale"])
    printed = capsys.readouterr().out
    assert (
        f"## {scale.TITLE}: batches of 1,000, time-ordered ids, while it is filled to 1,000\n"
        in printed
    )
    assert (
        f"## {scale.TITLE}: over HTTP, time-ordered ids, with 1,000 records in the ledger\n"
        in printed
    )
