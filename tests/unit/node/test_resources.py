import pytest

from tests.unit.node.fakes import cpu
from zgen.limits import SHAPE_NAMES_COUNT_MAX
from zgen_node.core.resources import Resources, amount_of, amount_text, shape_fault


@pytest.mark.parametrize(
    ("amount", "text"),
    [
        (0, "0"),
        (1, "0.0001"),
        (5_000, "0.5"),
        (10_000, "1"),
        (12_500, "1.25"),
        (100_000, "10"),
        (-5_000, "-0.5"),
    ],
)
def test_amounts_read_as_decimals(amount: int, text: str) -> None:
    assert amount_text(amount) == text


def test_a_shape_is_sorted_positive_and_names_each_resource_once() -> None:
    assert shape_fault(()) == ""
    assert shape_fault((("CPU", 1), ("GPU", 2))) == ""
    assert "sorted" in shape_fault((("GPU", 1), ("CPU", 2)))
    assert "once" in shape_fault((("CPU", 1), ("CPU", 2)))
    assert "positive" in shape_fault((("CPU", 0),))
    assert "positive" in shape_fault((("CPU", -1),))


def test_a_shape_has_a_bounded_number_of_names() -> None:
    names = tuple((f"r{index:03}", 1) for index in range(SHAPE_NAMES_COUNT_MAX + 1))
    assert shape_fault(names[:-1]) == ""
    assert str(SHAPE_NAMES_COUNT_MAX) in shape_fault(names)


def test_a_name_that_a_shape_lacks_has_no_amount() -> None:
    assert amount_of(cpu(2), "CPU") == 20_000
    assert amount_of(cpu(2), "GPU") == 0


def test_what_is_taken_is_not_free_until_it_is_given() -> None:
    resources = Resources(cpu(2))
    resources.take(cpu(1.5))
    assert resources.free == (("CPU", 5_000),)
    assert resources.fits(cpu(0.5))
    assert not resources.fits(cpu(1))
    resources.give(cpu(1.5))
    assert resources.fits(cpu(2))


def test_more_may_be_taken_than_is_free() -> None:
    resources = Resources(cpu(1))
    resources.take(cpu(1))
    resources.take(cpu(1))
    assert resources.free == (("CPU", -10_000),)
    assert not resources.fits(cpu(0.0001))
    assert resources.fits(())


def test_more_cannot_be_given_than_was_taken() -> None:
    with pytest.raises(AssertionError, match="more CPU given"):
        Resources(cpu(1)).give(cpu(1))


def test_feasible_is_what_would_fit_an_empty_node() -> None:
    resources = Resources(cpu(2))
    resources.take(cpu(2))
    assert resources.feasible(cpu(2))
    assert not resources.feasible(cpu(3))
    assert not resources.feasible((("GPU", 1),))


def test_what_lacks_is_named_with_what_is_there() -> None:
    resources = Resources(cpu(2))
    wanted = (("CPU", 80_000), ("GPU", 5_000))
    assert (
        resources.infeasible_text(wanted)
        == "needs num_cpus=8, this node has 2; needs num_gpus=0.5, this node has 0"
    )
    resources.take(cpu(1.5))
    assert resources.busy_text(cpu(2)) == "needs num_cpus=2, 0.5 of 2 free"
    assert resources.busy_text(cpu(0.5)) == ""
    resources.take(cpu(1.5))
    assert resources.busy_text(cpu(2)) == "needs num_cpus=2, 0 of 2 free"
    assert resources.infeasible_text((("disk", 10_000),)) == (
        "needs resources['disk']=1, this node has 0"
    )
