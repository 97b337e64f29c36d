"""``ZGEN_CHAOS``: what is to befall which messages, read from JSON."""

import json
from typing import Any, Final

from zgen.limits import MS
from zgen.mishaps import VARIABLE
from zgen.mishaps.catalogue import Action, names
from zgen.slotted import slotted

#: In place of the name of a kind: all of them.
EVERY: Final = "*"
#: A greater share of losses is a cut line, for which there are better means.
RATE_MAX: Final = 0.9
DELAY_MS_MAX: Final = 60_000
MIN_COUNT_MAX: Final = 10_000
RULES_COUNT_MAX: Final = 256
_KEYS: Final = ("seed", "rules", "report")
_RATES: Final = tuple(action.value for action in Action)
_RULE_KEYS: Final = ("msg", *_RATES, "delay_ms", "min")


@slotted
class Rule:
    """One rule.

    Attributes:
        kinds: Numbers of the kinds that it is for.
        rates: What befalls one message, with which chance, from 0 to 1; without ``DELAY``.
        delay_rate: Chance that a message is delayed which nothing else befalls; None for never,
            also not to make up the least count.
        delay_ns: Least and greatest delay.
        count_min: So many messages of each kind are hit for certain.
    """

    kinds: tuple[int, ...]
    rates: tuple[tuple[Action, float], ...]
    delay_rate: float | None
    delay_ns: tuple[int, int]
    count_min: int

    @property
    def actions(self) -> tuple[Action, ...]:
        """What this rule does."""
        late = () if self.delay_rate is None else (Action.DELAY,)
        return (*(action for action, _ in self.rates), *late)


@slotted
class Rules:
    """All rules of a process.

    Attributes:
        seed: What its dice follow from, beside who it is.
        rules: The rules; the first one that hits a message decides.
        report: Folder where hits are counted; empty for one in the session folder of the node.
    """

    seed: int
    rules: tuple[Rule, ...]
    report: str


def parse(text: str) -> Rules:
    """Return the rules in the value of ``ZGEN_CHAOS``.

    Raises:
        ValueError: They are not JSON, or make no sense; the message names the key.
    """
    try:
        given = json.loads(text)
    except ValueError as error:
        raise ValueError(f"{VARIABLE} is not JSON: {error}") from None
    if not isinstance(given, dict):
        raise ValueError(f"{VARIABLE} must be an object, such as {{}}, got {text[:40]!r}")
    _refuse_others(given, _KEYS, "")
    seed, report = given.get("seed", 0), given.get("report", "")
    if type(seed) is not int:
        raise _wrong("seed", "an integer", seed)
    if type(report) is not str:
        raise _wrong("report", "the path of a folder", report)
    rules = given.get("rules", [])
    if type(rules) is not list or len(rules) > RULES_COUNT_MAX:
        raise _wrong("rules", f"a list of at most {RULES_COUNT_MAX} rules", rules)
    known = names()
    made = tuple(_rule(rule, f"rules[{at}]", known) for at, rule in enumerate(rules))
    return Rules(seed, made, report)


def _rule(given: Any, where: str, known: dict[int, str]) -> Rule:
    if type(given) is not dict:
        raise _wrong(where, 'an object, such as {"msg": "*", "drop": 0.05}', given)
    _refuse_others(given, _RULE_KEYS, f"{where}.")
    msg = given.get("msg")
    kinds = tuple(kind for kind, name in known.items() if msg in (name, EVERY))
    if not kinds:
        raise _wrong(f"{where}.msg", 'a kind of docs/reference/messages.md, or "*"', msg)
    rates = tuple(
        (action, _rate(given[action.value], f"{where}.{action.value}"))
        for action in Action
        if action.value in given and action is not Action.DELAY
    )
    if sum(rate for _, rate in rates) > 1:
        raise ValueError(f"{VARIABLE}: {where}: what befalls a message has chances of more than 1")
    delay_rate = None
    if "delay" in given or "delay_ms" in given:
        delay_rate = _rate(given.get("delay", 1.0), f"{where}.delay", 1.0)
    if not rates and delay_rate is None:
        raise ValueError(f"{VARIABLE}: {where} does nothing; name one of {', '.join(_RATES)}")
    count_min = given.get("min", 0)
    if type(count_min) is not int or not 0 <= count_min <= MIN_COUNT_MAX:
        raise _wrong(f"{where}.min", f"a count from 0 to {MIN_COUNT_MAX}", count_min)
    delay_ns = _delay_ns(given.get("delay_ms", [0, 200]), f"{where}.delay_ms")
    return Rule(kinds, rates, delay_rate, delay_ns, count_min)


def _rate(given: Any, where: str, rate_max: float = RATE_MAX) -> float:
    if type(given) not in (int, float) or not 0 <= given <= rate_max:
        raise _wrong(where, f"a chance from 0 to {rate_max:g}", given)
    return float(given)


def _delay_ns(given: Any, where: str) -> tuple[int, int]:
    fits = (
        type(given) is list
        and len(given) == 2
        and all(type(each) in (int, float) for each in given)
        and 0 <= given[0] <= given[1] <= DELAY_MS_MAX
    )
    if not fits:
        wanted = f"two numbers of milliseconds, [least, greatest], up to {DELAY_MS_MAX}"
        raise _wrong(where, wanted, given)
    return round(given[0] * MS), round(given[1] * MS)


def _refuse_others(given: dict[str, Any], known: tuple[str, ...], where: str) -> None:
    for key in given:
        if key not in known:
            raise ValueError(f"{VARIABLE}: no key {where}{key}; there are {', '.join(known)}")


def _wrong(where: str, wanted: str, given: Any) -> ValueError:
    return ValueError(f"{VARIABLE}: {where} must be {wanted}, got {given!r}")
