"""Ids of usage records: kept in few bytes, and always come back as they were written."""

from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from domain.record_ids import packed_ids, stored_id, stored_ids, written_id, written_ids

ONE, OTHER = "0192f0c1-0000-7000-8000-00000000000a", "fedcba98-7654-4321-8fed-cba987654321"

uuids = st.uuids().map(str)
nearly = st.tuples(uuids, st.integers(0, 35), st.sampled_from(["-", " ", "G", "é", "٣", "", "00"]))
ids = st.lists(
    st.one_of(
        uuids,
        uuids.map(str.upper),
        uuids.map(lambda text: text.replace("-", "")),
        nearly.map(lambda one: one[0][: one[1]] + one[2] + one[0][one[1] + 1 :]),
        st.text(min_size=1, max_size=40),
    ),
    max_size=6,
)


@given(ids)
def test_whatever_is_stored_comes_back(ids: list[str]) -> None:
    assert [written_id(one) for one in stored_ids(ids)] == ids
    assert stored_ids(ids) == [stored_id(id) for id in ids]


@given(st.lists(st.uuids(), min_size=1))
def test_uuids_are_kept_as_their_bytes(found: list[UUID]) -> None:
    packed = packed_ids(list(map(str, found)))
    assert packed == b"".join(one.bytes for one in found)
    assert written_ids(packed) == list(map(str, found))


@pytest.mark.parametrize("cut", [1, 8, 35])
def test_texts_that_come_to_uuids_together_are_none(cut: int) -> None:
    ids = [ONE + OTHER[:cut], OTHER[cut:]]
    assert packed_ids(ids) is None
    assert stored_ids(ids) == ids
