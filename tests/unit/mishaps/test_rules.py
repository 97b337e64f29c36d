"""Rules of ``ZGEN_CHAOS``: what they say, and what is said of wrong ones."""

from __future__ import annotations

import pytest

from zgen.ids import JobId, PeerId, StreamId
from zgen.limits import MS
from zgen.mishaps import VARIABLE, rules_given
from zgen.mishaps.catalogue import ANSWERS, Action, kind_of, names
from zgen.mishaps.rules import parse
from zgen.wire.codec import encode
from zgen.wire.lease import EndJob, NodeReport
from zgen.wire.membership import PingAck
from zgen.wire.stream import ReportEnd, ReportItems


def test_a_rule_is_for_one_kind_or_for_all_of_them() -> None:
    rules = parse(
        '{"seed": 7, "report": "/r", "rules": [{"msg": "ReportItems", "drop": 0.1, "dup": 0.2,'
        ' "delay_ms": [0, 200], "min": 3}, {"msg": "*", "reply_drop": 0.5}]}'
    )
    first, second = rules.rules
    assert (rules.seed, rules.report) == (7, "/r")
    assert first.kinds == (0x30,)
    assert first.rates == ((Action.DROP, 0.1), (Action.DUP, 0.2))
    assert (first.delay_rate, first.delay_ns, first.count_min) == (1.0, (0, 200 * MS), 3)
    assert first.actions == (Action.DROP, Action.DUP, Action.DELAY)
    assert second.kinds == tuple(names())
    assert second.actions == (Action.REPLY_DROP,)


def test_no_rules_are_rules_too() -> None:
    assert parse("{}").rules == ()


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("{", "ZGEN_CHAOS is not JSON"),
        ("[]", "ZGEN_CHAOS must be an object"),
        ('{"sed": 1}', "no key sed; there are seed, rules, report"),
        ('{"seed": "1"}', "seed must be an integer"),
        ('{"report": 1}', "report must be the path of a folder"),
        ('{"rules": {}}', "rules must be a list of at most 256 rules"),
        ('{"rules": [1]}', r"rules\[0\] must be an object"),
        ('{"rules": [{"msg": "*", "drip": 1}]}', r"no key rules\[0\].drip; there are msg, drop"),
        ('{"rules": [{"drop": 0.1}]}', r"rules\[0\].msg must be a kind"),
        ('{"rules": [{"msg": "Reports", "drop": 0.1}]}', r"rules\[0\].msg must be a kind"),
        ('{"rules": [{"msg": "*"}]}', r"rules\[0\] does nothing; name one of drop, reply_drop"),
        ('{"rules": [{"msg": "*", "drop": 0.95}]}', r"rules\[0\].drop must be a chance from 0 to"),
        ('{"rules": [{"msg": "*", "drop": true}]}', r"rules\[0\].drop must be a chance"),
        ('{"rules": [{"msg": "*", "drop": 0.6, "dup": 0.6}]}', "has chances of more than 1"),
        ('{"rules": [{"msg": "*", "delay": 2}]}', r"rules\[0\].delay must be a chance from 0 to 1"),
        ('{"rules": [{"msg": "*", "delay_ms": [3, 2]}]}', r"rules\[0\].delay_ms must be two num"),
        ('{"rules": [{"msg": "*", "delay_ms": [0, 1e9]}]}', r"rules\[0\].delay_ms must be two"),
        ('{"rules": [{"msg": "*", "drop": 0, "min": -1}]}', r"rules\[0\].min must be a count"),
    ],
)
def test_what_is_wrong_with_rules_is_said_by_its_key(text: str, told: str) -> None:
    with pytest.raises(ValueError, match=told):
        parse(text)


def test_the_environment_has_rules_or_none(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(VARIABLE, raising=False)
    assert rules_given() is None
    monkeypatch.setenv(VARIABLE, '{"seed": 3}')
    given = rules_given()
    assert given is not None
    assert given.seed == 3


def test_the_kind_of_a_message_is_read_off_its_frame() -> None:
    for message in (
        EndJob(JobId(bytes(16))),
        NodeReport(1, "x"),
        PingAck(PeerId(bytes(16)), PeerId(bytes(16)), 1, (), ()),
    ):
        frames = encode(message)
        assert names()[kind_of(frames[0])] == type(message).__name__
    items = encode(ReportItems(StreamId(bytes(16)), 0, 0, (b"x",)))
    assert names()[kind_of(items[0])] == "ReportItems"
    assert kind_of(b"\xdc\x00\x10\x30") == 0x30  # an array of many fields
    assert kind_of(b"\xdc\x00\x10\xcc\x91") == 0x91
    for nothing in (b"", b"\x93", b"\x93\xcc", b"\x93\xa1x"):
        assert kind_of(nothing) == -1
    assert ReportEnd.__name__ in names().values()


def test_every_answer_and_what_it_answers_is_a_kind() -> None:
    known = list(names().values())
    for request, answers in ANSWERS.items():
        assert request in known
        assert all(answer in known for answer in answers)
