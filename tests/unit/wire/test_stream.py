"""Stream reports as bytes."""

from __future__ import annotations

from zgen.ids import TaskId
from zgen.wire.codec import decode, encode
from zgen.wire.schema import Buffers
from zgen.wire.stream import CloseStream, ReportEnd, ReportItems
from zgen.wire.task import OUTCOME_ERROR, OUTCOME_VALUE

STREAM = TaskId(b"s" * 16)


def test_a_report_of_one_small_item_costs_its_id_and_a_few_bytes() -> None:
    report = ReportItems(STREAM, 0, 7, (b"item",))
    body = b"\x95\x30\xc4\x10" + STREAM + b"\x00\x07\x91\xc4\x04item"
    assert encode(report) == [body]
    assert decode([body]) == report


def test_the_buffers_of_items_are_frames() -> None:
    report = ReportItems(STREAM, 0, 7, (b"a", (0, b"d", 1)), Buffers((b"raw",)))
    frames = encode(report)
    assert frames[1:] == [b"raw"]
    assert decode(frames) == report


def test_an_end_carries_its_count_and_at_most_one_error() -> None:
    body = b"\x97\x31\xc4\x10" + STREAM + b"\x01\x05\x00\xcd\x03\xe8\x90"
    end = ReportEnd(STREAM, 1, 5, OUTCOME_VALUE, 1_000, ())
    assert encode(end) == [body]
    failed = ReportEnd(STREAM, 1, 5, OUTCOME_ERROR, 0, ((1, b"", 2),), Buffers((b"e", b"b")))
    assert decode(encode(failed)) == failed


def test_a_closing_names_the_attempt_that_is_meant() -> None:
    assert encode(CloseStream(STREAM, 3)) == [b"\x94\x32\xc4\x10" + STREAM + b"\x03\xc2"]
