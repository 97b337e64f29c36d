"""Ids are derived, never collide where they must differ, and read well."""

from __future__ import annotations

from itertools import pairwise

import hypothesis.strategies as st
from hypothesis import given

from zgen.ids import (
    COMPLETION_INDEX,
    ID_BYTES,
    ITEM_INDEX_FIRST,
    OBJECT_ID_BYTES,
    PUT_INDEX_FIRST,
    PeerId,
    TaskId,
    derive_lease_id,
    derive_puts_id,
    derive_task_id,
    derive_worker_id,
    hash_function,
    index_of,
    item_ids,
    node_tag,
    object_id,
    region_number,
    region_tag,
    short,
    task_of,
)
from zgen.limits import ITEMS_COUNT_MAX

ROOT = TaskId(bytes(ID_BYTES))
PEER = PeerId(b"p" * ID_BYTES)
task_ids = st.binary(min_size=ID_BYTES, max_size=ID_BYTES).map(TaskId)


def test_a_task_id_is_the_same_in_every_process_and_release() -> None:
    assert derive_task_id(ROOT, 0, 0).hex() == "a185b65e60c893712b18def7cf888f41"


def test_children_of_different_parents_attempts_and_positions_have_different_ids() -> None:
    parents = [ROOT, derive_task_id(ROOT, 0, 0)]
    made = [
        derive_task_id(parent, attempt, index)
        for parent in parents
        for attempt in range(3)
        for index in range(3)
    ]
    assert len(dict.fromkeys(made)) == len(made)
    assert all(len(name) == ID_BYTES for name in made)


def test_leases_and_workers_of_one_peer_never_share_an_id() -> None:
    made = [derive_lease_id(PEER, index) for index in range(5)]
    workers = [derive_worker_id(PEER, index) for index in range(5)]
    names: list[bytes] = [*made, *workers]
    assert len(dict.fromkeys(names)) == 10
    assert all(len(name) == ID_BYTES for name in names)


def test_a_function_is_named_after_its_bytes() -> None:
    assert hash_function(b"f") == hash_function(b"f")
    assert hash_function(b"f") != hash_function(b"g")
    assert len(hash_function(b"")) == ID_BYTES


@given(task=task_ids, index=st.integers(0, 2**32 - 1))
def test_an_object_id_tells_its_task_and_its_index(task: TaskId, index: int) -> None:
    name = object_id(task, index)
    assert len(name) == OBJECT_ID_BYTES
    assert (task_of(name), index_of(name)) == (task, index)


@given(task=task_ids, position=st.integers(0, ITEMS_COUNT_MAX), count=st.integers(0, 20))
def test_items_follow_the_completion_object(task: TaskId, position: int, count: int) -> None:
    names = item_ids(task, position, count)
    assert names == tuple(
        object_id(task, ITEM_INDEX_FIRST + position + offset) for offset in range(count)
    )
    assert object_id(task, COMPLETION_INDEX) not in names
    assert all(index_of(one) + 1 == index_of(other) for one, other in pairwise(names))


def test_no_item_reaches_the_indices_of_put_objects() -> None:
    last = item_ids(ROOT, ITEMS_COUNT_MAX - 1, 1)[0]
    assert index_of(last) < PUT_INDEX_FIRST


def test_people_read_eight_digits_and_the_index_of_an_object() -> None:
    task = TaskId(bytes(range(ID_BYTES)))
    assert short(task) == "00010203"
    assert short(object_id(task, 7)) == "00010203.7"


def test_what_a_later_attempt_puts_has_names_of_its_own() -> None:
    task = TaskId(bytes(16))
    names = [derive_puts_id(task, attempt) for attempt in range(3)]
    assert names[0] == task
    assert len(set(names)) == 3


def test_numbers_of_regions_begin_with_the_tag_of_their_node() -> None:
    tag = node_tag(PeerId(b"\xff" * 16))
    number = region_number(tag, 5)
    assert region_tag(number) == tag == 0xFFFFFFFF
    assert number < 1 << 63
    assert region_number(0, 1) == 1
