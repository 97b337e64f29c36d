"""Which message is hit by what: follows from the seed, the process and the message's number."""

from collections.abc import Callable
from random import Random
from typing import Final, Protocol

from zgen.mishaps.catalogue import ANSWERS, Action, names
from zgen.mishaps.rules import Rule, Rules
from zgen.slotted import slotted


@slotted
class Verdict:
    """What befalls one message.

    Attributes:
        action: What.
        kind: Kind of message that this counts for: of the request, where its answer is lost.
        delay_ns: For how long a delayed one is kept.
    """

    action: Action
    kind: int
    delay_ns: int = 0


class Judge(Protocol):
    """Says what befalls messages."""

    def on_send(self, kind: int, *, again: bool, kept: bool) -> Verdict | None:
        """Judge a message that leaves.

        Args:
            kind: Its kind.
            again: Whether it was sent before.
            kept: Whether its sender keeps it until it is acknowledged.
        """

    def on_receive(self, kind: int, *, kept: bool) -> bool:
        """Return whether the acknowledgement of a message that has arrived is lost.

        Args:
            kind: Its kind.
            kept: Whether that can be lost now.
        """


@slotted
class _Course:
    """One rule and one kind.

    Attributes:
        dice: Its dice.
        hits: How many messages were hit.
        seen: How many were not sent again.
        turn: Which action the next certain hit takes.
    """

    dice: Random
    hits: int
    seen: int
    turn: int


class Dice:
    """Judges by rules.

    A kind has dice of its own in each rule, so that what befalls its n-th message does not depend
    on what else is sent.
    """

    def __init__(self, rules: Rules, identity: str) -> None:
        """Judge for the process that is the same ``identity`` in another run."""
        self._seed: Final = f"{rules.seed} {identity}"
        self._rules: Final = rules.rules
        known = names()
        numbers = {name: kind for kind, name in known.items()}
        #: Answer -> requests that it may answer.
        self._asked: Final[dict[int, list[int]]] = {}
        for request, answers in ANSWERS.items():
            for answer in answers:
                self._asked.setdefault(numbers[answer], []).append(numbers[request])
        self._answered: Final = tuple(numbers[request] for request in ANSWERS)
        #: Kinds that have arrived: what was not asked for is no answer. Never removed.
        self._heard: dict[int, None] = {}
        #: (number of a rule, kind, what for) -> its course. Added when first asked for.
        self._courses: dict[tuple[int, int, str], _Course] = {}

    def on_send(self, kind: int, *, again: bool, kept: bool) -> Verdict | None:
        """Judge a message that leaves, by the first rule that hits it."""
        for number, rule in enumerate(self._rules):
            if Action.REPLY_DROP in rule.actions:
                for request in self._asked.get(kind, ()):
                    asked = request in rule.kinds and request in self._heard
                    if asked and self._hits_reply(number, request, again, kept):
                        return Verdict(Action.REPLY_DROP, request)
            if kind in rule.kinds:
                verdict = self._hit(number, kind, again, kept)
                if verdict is not None:
                    return verdict
        return None

    def on_receive(self, kind: int, *, kept: bool) -> bool:
        """Return whether an acknowledgement is lost: of a kind that nothing else answers."""
        self._heard[kind] = None
        if not kept or kind in self._answered:
            return False
        return any(
            kind in rule.kinds
            and Action.REPLY_DROP in rule.actions
            and self._hits_reply(number, kind, False, True)
            for number, rule in enumerate(self._rules)
        )

    def _hits_reply(self, number: int, request: int, again: bool, kept: bool) -> bool:
        course = self._course(number, request, "reply", 1)
        rule = self._rules[number]
        rate = dict(rule.rates)[Action.REPLY_DROP]
        hit = _is_certain(course, rule, again, kept) or course.dice.random() < rate
        course.hits += hit
        return hit

    def _hit(self, number: int, kind: int, again: bool, kept: bool) -> Verdict | None:
        rule = self._rules[number]
        actions = [action for action in rule.actions if action is not Action.REPLY_DROP]
        if not actions:
            return None
        course = self._course(number, kind, "", len(actions))
        if _is_certain(course, rule, again, kept):
            course.turn += 1
            action: Action | None = actions[course.turn % len(actions)]
        else:
            action = _thrown(rule, course.dice.random)
        if action is None:
            return None
        course.hits += 1
        least, greatest = rule.delay_ns
        late = action is Action.DELAY
        return Verdict(action, kind, course.dice.randint(least, greatest) if late else 0)

    def _course(self, number: int, kind: int, what: str, turns: int) -> _Course:
        key = number, kind, what
        course = self._courses.get(key)
        if course is None:
            dice = Random(f"{self._seed} {number} {kind} {what}")
            course = self._courses[key] = _Course(dice, 0, 0, dice.randrange(turns))
        return course


def _is_certain(course: _Course, rule: Rule, again: bool, kept: bool) -> bool:
    """Return whether a message is hit to make up the least count.

    What is sent again is not, or it would never arrive. Of what nobody sends again only every other
    one is, as its repetition is just another message.
    """
    if again:
        return False
    course.seen += 1
    return course.hits < rule.count_min and (kept or course.seen % 2 == 1)


def _thrown(rule: Rule, throw: Callable[[], float]) -> Action | None:
    left = throw()
    for action, rate in rule.rates:
        if action is Action.REPLY_DROP:
            continue
        left -= rate
        if left < 0:
            return action
    if rule.delay_rate is not None and throw() < rule.delay_rate:
        return Action.DELAY
    return None
