"""What users say of where work may run, as nodes are told it."""

from __future__ import annotations

from typing import Any

import pytest

from zgen.ids import NO_PEER, PeerId
from zgen.remote_function import RemoteFunction, make_remote_function
from zgen.util.scheduling_strategies import (
    DoesNotExist,
    Exists,
    In,
    NodeAffinitySchedulingStrategy,
    NodeLabelSchedulingStrategy,
    NotIn,
    strategy_from,
)
from zgen.wire.lease import ANYWHERE, PlacedShape, shape_of, strategy_of

NODE = PeerId(b"n" * 16)


def work() -> None: ...


@pytest.mark.parametrize("chosen", [None, "DEFAULT"])
def test_nothing_chosen_is_anywhere(chosen: Any) -> None:
    assert strategy_from(chosen, None) == ANYWHERE
    assert strategy_from(chosen, {}) == ANYWHERE


def test_spread_and_affinity() -> None:
    assert strategy_from("SPREAD", None) == ("SPREAD", NO_PEER, False, (), ())
    hard = NodeAffinitySchedulingStrategy(NODE.hex())
    assert strategy_from(hard, None) == ("NODE", NODE, False, (), ())
    soft = NodeAffinitySchedulingStrategy(NODE.hex(), soft=True)
    assert strategy_from(soft, None) == ("NODE", NODE, True, (), ())


def test_conditions_on_labels() -> None:
    hard = {"a": In("1", "2"), "b": NotIn("3"), "c": Exists(), "d": DoesNotExist()}
    chosen = NodeLabelSchedulingStrategy(hard=hard, soft={"e": In("4")})
    assert strategy_from(chosen, {"f": "5"}) == (
        "",
        NO_PEER,
        False,
        (
            ("f", "in", ("5",)),
            ("a", "in", ("1", "2")),
            ("b", "!in", ("3",)),
            ("c", "exists", ()),
            ("d", "!exists", ()),
        ),
        (("e", "in", ("4",)),),
    )


@pytest.mark.parametrize(
    ("text", "how", "values"),
    [
        ("a", "in", ("a",)),
        ("!a", "!in", ("a",)),
        ("in(a, b)", "in", ("a", "b")),
        ("!in(a,b)", "!in", ("a", "b")),
    ],
)
def test_a_selector_says_what_a_label_is(text: str, how: str, values: tuple[str, ...]) -> None:
    expected = ("", NO_PEER, False, (("zone", how, values),), ())
    assert strategy_from(None, {"zone": text}) == expected


@pytest.mark.parametrize(
    ("chosen", "selector", "error"),
    [
        ("PACK", None, ValueError),
        (NodeAffinitySchedulingStrategy("xyz"), None, ValueError),
        (NodeAffinitySchedulingStrategy(None), None, ValueError),  # type: ignore[arg-type]  # as a user may
        (NodeLabelSchedulingStrategy(hard={"a": "b"}), None, TypeError),
        (NodeLabelSchedulingStrategy(hard=3), None, TypeError),  # type: ignore[arg-type]  # as a user may
        (None, "zone", TypeError),
        (None, {"zone": 3}, TypeError),
        (None, {3: "zone"}, TypeError),
        (None, {"zone": "in()"}, ValueError),
        (None, {"zone": "in(a"}, ValueError),
        (None, {"zone": "!!a"}, ValueError),
    ],
)
def test_what_says_nothing_is_refused(chosen: Any, selector: Any, error: type[Exception]) -> None:
    with pytest.raises(error):
        make_remote_function(work, {"scheduling_strategy": chosen, "label_selector": selector})


def test_a_function_holds_its_resources_where_it_may_run() -> None:
    plain = make_remote_function(work, {})
    assert not isinstance(plain._shape, PlacedShape)
    assert (shape_of(plain._shape), strategy_of(plain._shape)) == ((("CPU", 10_000),), ANYWHERE)
    placed: RemoteFunction[Any, Any] = plain.options(scheduling_strategy="SPREAD")
    assert shape_of(placed._shape) == (("CPU", 10_000),)
    assert strategy_of(placed._shape)[0] == "SPREAD"
