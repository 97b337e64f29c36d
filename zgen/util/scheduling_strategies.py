"""Where work may run: what ``scheduling_strategy`` and ``label_selector`` take."""

from dataclasses import dataclass, field
from typing import Any, Final

from zgen.ids import ID_BYTES, NO_PEER, PeerId
from zgen.wire.lease import (
    ABSENT,
    ANYWHERE,
    BY_DEFAULT,
    EXISTS,
    IN,
    NOT_IN,
    ON_NODE,
    SPREAD,
    Labels,
    Strategy,
)

_DEFAULT: Final = "DEFAULT"


@dataclass(frozen=True, slots=True)
class NodeAffinitySchedulingStrategy:
    """Run on one node.

    Attributes:
        node_id: The node, as ``zgen.nodes()`` and ``get_runtime_context().get_node_id()`` name it.
        soft: Whether another node will do if that one is gone or could never hold the work.
    """

    node_id: str
    soft: bool = False


class In:
    """The label has one of these values."""

    def __init__(self, *values: str) -> None:
        """Take the values."""
        self.values = values


class NotIn:
    """The label has none of these values, or is not there."""

    def __init__(self, *values: str) -> None:
        """Take the values."""
        self.values = values


class Exists:
    """The label is there."""

    values: tuple[str, ...] = ()


class DoesNotExist:
    """The label is not there."""

    values: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class NodeLabelSchedulingStrategy:
    """Run on nodes with certain labels.

    Attributes:
        hard: Label -> what a node must meet.
        soft: Label -> what a node had better meet, of those that have room.
    """

    hard: dict[str, Any] = field(default_factory=dict)
    soft: dict[str, Any] = field(default_factory=dict)


_HOW: Final = {In: IN, NotIn: NOT_IN, Exists: EXISTS, DoesNotExist: ABSENT}


def strategy_from(chosen: Any, selector: Any) -> Strategy:
    """Return what nodes are told.

    Args:
        chosen: ``scheduling_strategy``: None, ``"DEFAULT"``, ``"SPREAD"`` or a strategy.
        selector: ``label_selector``: None, or label -> a value, ``"!value"``, ``"in(a, b)"`` or
            ``"!in(a, b)"``.

    Raises:
        ValueError: They say nothing that a node could meet.
        TypeError: One of them is of a wrong type.
    """
    selected = _selected(selector)
    if chosen is None or chosen == _DEFAULT:
        return (BY_DEFAULT, NO_PEER, False, selected, ()) if selected else ANYWHERE
    if chosen == SPREAD:
        return SPREAD, NO_PEER, False, selected, ()
    if isinstance(chosen, NodeAffinitySchedulingStrategy):
        return ON_NODE, _node(chosen.node_id), chosen.soft, selected, ()
    if isinstance(chosen, NodeLabelSchedulingStrategy):
        hard = _labels("hard", chosen.hard)
        return BY_DEFAULT, NO_PEER, False, (*selected, *hard), _labels("soft", chosen.soft)
    raise ValueError(
        'scheduling_strategy must be "DEFAULT", "SPREAD", a NodeAffinitySchedulingStrategy or a '
        f"NodeLabelSchedulingStrategy, got {chosen!r}"
    )


def _node(node_id: Any) -> PeerId:
    try:
        node = bytes.fromhex(node_id)
    except (TypeError, ValueError):
        node = b""
    if len(node) != ID_BYTES:
        raise ValueError(f"node_id must be the id of a node, got {node_id!r}")
    return PeerId(node)


def _labels(which: str, given: Any) -> Labels:
    if not isinstance(given, dict):
        raise TypeError(f"{which} must be a dict of labels, got {given!r}")
    made: list[tuple[str, str, tuple[str, ...]]] = []
    for name, condition in given.items():
        how = _HOW.get(type(condition))
        if how is None:
            raise TypeError(
                f"{which}[{name!r}] must be In, NotIn, Exists or DoesNotExist, got {condition!r}"
            )
        made.append((_text(name), how, tuple(map(_text, condition.values))))
    return tuple(made)


def _selected(given: Any) -> Labels:
    if given is None:
        return ()
    if not isinstance(given, dict):
        raise TypeError(f"label_selector must be a dict of labels, got {given!r}")
    made: list[tuple[str, str, tuple[str, ...]]] = []
    for name, value in given.items():
        text = _text(value).strip()
        how = NOT_IN if text.startswith("!") else IN
        text = text.removeprefix("!").strip()
        if text.startswith("in(") and text.endswith(")"):
            values = tuple(part.strip() for part in text[len("in(") : -1].split(","))
        else:
            values = (text,)
        if not all(values):
            raise ValueError(f"label_selector[{name!r}] names no value: {value!r}")
        if any(mark in part for part in values for mark in "!(),"):
            raise ValueError(
                f"label_selector[{name!r}] must be 'value', '!value', 'in(a, b)' or '!in(a, b)', "
                f"got {value!r}"
            )
        made.append((_text(name), how, values))
    return tuple(made)


def _text(value: Any) -> str:
    if not isinstance(value, str):
        raise TypeError(f"labels and their values are strings, got {value!r}")
    return value
