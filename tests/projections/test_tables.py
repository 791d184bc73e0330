"""Views in memory: made from a copy of empty tables, and each its own."""

from contextlib import closing
from pathlib import Path

from projections.differences import first_difference
from projections.engine import TABLES, Engine
from projections.tables import IN_MEMORY


def test_views_in_memory_are_those_of_a_file_and_each_its_own(tmp_path: Path) -> None:
    def shape(engine: Engine) -> list[tuple[object, ...]]:
        return engine.database.writing.rows("SELECT type, name, sql FROM sqlite_schema ORDER BY 2")

    with (
        closing(Engine(tmp_path / "views.db")) as kept,
        closing(Engine(IN_MEMORY)) as one,
        closing(Engine(IN_MEMORY)) as other,
    ):
        assert shape(one) == shape(other) == shape(kept)
        one.database.writing.insert("history", [("cus_1", 1, "customer.created")])
        views = one.database.writing, other.database.writing
        assert first_difference(*views, TABLES) is not None
        assert first_difference(views[1], kept.database.writing, TABLES) is None
