"""What dice say of messages: the same of the same process, often enough, never for ever."""

from __future__ import annotations

import json
from typing import Any

from zgen.limits import MS
from zgen.mishaps.catalogue import Action
from zgen.mishaps.dice import Dice, Verdict
from zgen.mishaps.rules import parse

ITEMS, LEASE, GRANTED, PING = 0x30, 0x12, 0x13, 0x80


def dice(*rules: dict[str, Any], seed: int = 7, who: str = "worker-1") -> Dice:
    return Dice(parse(json.dumps({"seed": seed, "rules": rules})), who)


def verdicts(judge: Dice, kind: int, count: int, **said: bool) -> list[Verdict | None]:
    said = {"again": False, "kept": True, **said}
    return [judge.on_send(kind, **said) for _ in range(count)]


def test_the_same_seed_and_process_have_the_same_fate_whatever_else_is_sent() -> None:
    rule = {"msg": "*", "drop": 0.2, "dup": 0.2, "delay_ms": [0, 100], "delay": 0.5}
    plain, mixed = dice(rule), dice(rule)
    expected = verdicts(plain, ITEMS, 200)
    found = []
    for _ in range(200):
        mixed.on_send(LEASE, again=False, kept=True)
        found.append(mixed.on_send(ITEMS, again=False, kept=True))
    assert found == expected
    assert verdicts(dice(rule, seed=8), ITEMS, 200) != expected
    assert verdicts(dice(rule, who="worker-2"), ITEMS, 200) != expected


def test_chances_are_kept() -> None:
    found = verdicts(dice({"msg": "ReportItems", "drop": 0.1, "inflight_retry": 0.3}), ITEMS, 4000)
    counts = {action: sum(v.action is action for v in found if v) for action in Action}
    assert 300 < counts[Action.DROP] < 500
    assert 1050 < counts[Action.INFLIGHT_RETRY] < 1350


def test_delays_lie_between_their_bounds() -> None:
    found = verdicts(dice({"msg": "ReportItems", "delay_ms": [5, 9]}), ITEMS, 100)
    delays = [verdict.delay_ns for verdict in found if verdict is not None]
    assert len(delays) == 100
    assert min(delays) >= 5 * MS
    assert max(delays) <= 9 * MS
    assert max(delays) > min(delays)


def test_the_least_count_is_hit_first_each_action_in_turn() -> None:
    rule = {"msg": "*", "drop": 0, "dup": 0, "inflight_retry": 0, "min": 3}
    found = verdicts(dice(rule), ITEMS, 5)
    actions = [verdict.action if verdict else None for verdict in found]
    assert actions[3:] == [None, None]
    assert sorted(each.value for each in actions[:3] if each) == ["drop", "dup", "inflight_retry"]
    assert verdicts(dice(rule), LEASE, 4)[3] is None


def test_what_is_sent_again_is_not_hit_for_certain() -> None:
    judge = dice({"msg": "*", "drop": 0, "min": 2})
    assert verdicts(judge, ITEMS, 3, again=True) == [None] * 3
    assert [bool(each) for each in verdicts(judge, ITEMS, 3)] == [True, True, False]


def test_of_what_nobody_sends_again_every_other_one_is_hit() -> None:
    found = verdicts(dice({"msg": "*", "drop": 0, "min": 3}), PING, 7, kept=False)
    assert [bool(each) for each in found] == [True, False, True, False, True, False, False]


def test_an_answer_is_lost_once_it_was_asked_for() -> None:
    judge = dice({"msg": "RequestLease", "reply_drop": 0, "min": 1})
    assert judge.on_send(GRANTED, again=False, kept=True) is None
    assert not judge.on_receive(LEASE, kept=True)  # the answer is lost, not the ack
    assert judge.on_send(GRANTED, again=False, kept=True) == Verdict(Action.REPLY_DROP, LEASE)
    assert judge.on_send(GRANTED, again=False, kept=True) is None


def test_of_what_has_no_answer_the_acknowledgement_is_lost() -> None:
    judge = dice({"msg": "ReportItems", "reply_drop": 0, "min": 1})
    assert not judge.on_receive(ITEMS, kept=False)
    assert not judge.on_receive(LEASE, kept=True)
    assert judge.on_receive(ITEMS, kept=True)
    assert not judge.on_receive(ITEMS, kept=True)
    assert judge.on_send(ITEMS, again=False, kept=True) is None


def test_the_first_rule_that_hits_decides() -> None:
    judge = dice({"msg": "ReportItems", "dup": 0, "min": 1}, {"msg": "*", "drop": 0, "min": 1})
    found = [verdict.action if verdict else None for verdict in verdicts(judge, ITEMS, 3)]
    assert found == [Action.DUP, Action.DROP, None]
