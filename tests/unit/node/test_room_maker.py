from tests.unit.node.fakes import DRIVER
from tests.unit.node.store_bench import (
    MB,
    READER,
    STREAM,
    WRITER,
    StoreBench,
    of,
    spills,
    told,
)
from zgen.core.effects import (
    Send,
)
from zgen.core.store_effects import (
    CreateSlab,
    PunchRegion,
)
from zgen.ids import NO_STREAM
from zgen.limits import EVICT_AGAIN_NS, STORE_FULL_NS
from zgen.wire.store import (
    REFUSED_FULL,
    AskEvict,
    Evict,
    Holder,
    RegionsLeased,
    RegionsRefused,
)


def test_the_owner_that_room_is_wanted_for_is_asked_first_and_what_it_gives_is_spilled() -> None:
    bench = StoreBench()
    mine = bench.lease(READER, READER, 3 * MB).region
    theirs = bench.lease().region
    done = bench.want(stream=STREAM)
    assert of(done, Send) == [Send(DRIVER, AskEvict(MB, STREAM))]
    done = bench.say(DRIVER, Evict((theirs,), False))
    assert spills(done) == [theirs]
    assert told(done, AskEvict) == []
    done = bench.spilled(theirs)
    assert told(done, RegionsLeased)[0].regions[0].place.is_warm
    assert bench.report()["spilled_bytes"] == MB
    assert bench.held(DRIVER, mine).lost == ()


def test_then_the_largest_other_owner_is_asked() -> None:
    bench = StoreBench()
    bench.lease(DRIVER, DRIVER)
    mine = bench.lease(READER, READER, 2 * MB).region
    bench.lease(WRITER, WRITER)
    bench.want(stream=STREAM)
    done = bench.say(DRIVER, Evict((), False))
    assert of(done, Send) == [Send(READER, AskEvict(MB, NO_STREAM))]
    assert spills(bench.say(READER, Evict((mine,), False))) == [mine]


def test_an_owner_that_gave_too_little_is_asked_for_the_rest() -> None:
    bench = StoreBench()
    regions = bench.fill()
    assert told(bench.want(size_bytes=2 * MB), AskEvict)[0].size_bytes == 2 * MB
    done = bench.say(DRIVER, Evict((regions[0],), False))
    assert spills(done) == [regions[0]]
    assert told(done, AskEvict)[0].size_bytes == MB


def test_owners_without_anything_to_give_are_asked_again_later() -> None:
    bench = StoreBench()
    bench.fill()
    bench.want()
    assert told(bench.say(DRIVER, Evict((), False)), AskEvict) == []
    assert told(bench.advance(EVICT_AGAIN_NS - 1), AskEvict) == []
    assert len(told(bench.advance(1), AskEvict, DRIVER)) == 1


def test_an_owner_that_does_not_answer_keeps_nobody_from_asking_the_next() -> None:
    bench = StoreBench()
    bench.fill(count=3)
    bench.lease(READER, READER)
    assert told(bench.want(), AskEvict, DRIVER) != []
    done = bench.advance(EVICT_AGAIN_NS)
    assert told(done, AskEvict, DRIVER) == []
    assert len(told(done, AskEvict, READER)) == 1


def test_warm_rooms_of_other_classes_go_before_anybody_is_asked() -> None:
    bench = StoreBench()
    regions = bench.fill()
    bench.release(DRIVER, *regions[:2])
    done = bench.want(size_bytes=2 * MB)
    assert [type(effect) for effect in done] == [PunchRegion, PunchRegion, CreateSlab, Send]
    assert bench.used_bytes == 4 * MB


def test_a_request_that_does_not_fit_is_not_overtaken() -> None:
    bench = StoreBench()
    regions = bench.fill()
    bench.want(size_bytes=2 * MB)
    bench.want()
    assert told(bench.release(DRIVER, regions[0]), RegionsLeased) == []
    done = bench.release(DRIVER, *regions[1:3])
    assert [leased.regions[0].place.room for leased in told(done, RegionsLeased)] == [2 * MB, MB]


def test_a_request_that_waits_for_its_consumer_is_overtaken_and_never_refused() -> None:
    bench = StoreBench()
    regions = bench.fill()
    bench.want(stream=STREAM, size_bytes=2 * MB)
    assert told(bench.say(DRIVER, Evict((), True)), AskEvict) == []
    asked = told(bench.want(READER, READER, 2 * MB), AskEvict)
    refused: list[RegionsRefused] = []
    for _ in range(2 * STORE_FULL_NS // EVICT_AGAIN_NS):
        while asked:
            done = bench.say(DRIVER, Evict((), asked[0].stream == STREAM))
            asked = told(done, AskEvict, DRIVER)
        done = bench.advance(EVICT_AGAIN_NS)
        asked = told(done, AskEvict, DRIVER)
        refused += told(done, RegionsRefused, WRITER)
        assert len(asked) == 1
    assert refused == []
    bench.say(DRIVER, Evict((), True))
    bench.want(READER, READER)
    assert told(bench.release(DRIVER, regions[0]), RegionsLeased, READER) != []
    assert told(bench.release(DRIVER, *regions[1:3]), RegionsLeased, WRITER) != []


def test_an_owner_that_gives_up_unasked_holds_nothing_back() -> None:
    bench = StoreBench()
    regions = bench.fill()
    bench.want(stream=STREAM)
    bench.say(DRIVER, Evict((), True))
    assert spills(bench.say(DRIVER, Evict((regions[2],), False))) == [regions[2]]


def test_a_request_that_nothing_was_freed_for_is_refused_with_the_largest_holders() -> None:
    bench = StoreBench()
    bench.fill(count=2)
    bench.lease(READER, READER)
    bench.held(READER, 1)
    bench.lease(WRITER, WRITER)
    bench.want()
    done = bench.advance(STORE_FULL_NS - 1)
    assert told(done, RegionsRefused) == []
    (refused,) = told(bench.advance(1), RegionsRefused, WRITER)
    assert refused.reason == REFUSED_FULL
    assert refused.holders == (
        Holder("driver pid=77", 2 * MB, 2),
        Holder("worker pid=102", 2 * MB, 2),
        Holder("worker pid=101", MB, 1),
    )


def test_room_for_others_lets_a_request_wait_longer() -> None:
    bench = StoreBench()
    regions = bench.fill()
    bench.want(size_bytes=4 * MB)
    bench.advance(STORE_FULL_NS // 2)
    bench.release(DRIVER, regions[0])
    assert told(bench.advance(STORE_FULL_NS - 1), RegionsRefused) == []
    assert len(told(bench.advance(1), RegionsRefused)) == 1


def test_what_fits_when_another_is_refused_is_met_and_not_refused() -> None:
    bench = StoreBench()
    regions = bench.fill()
    bench.release(DRIVER, regions[0])
    bench.want(size_bytes=4 * MB)
    bench.want(size_bytes=MB)
    done = bench.advance(STORE_FULL_NS)
    assert len(told(done, RegionsRefused)) == len(told(done, RegionsLeased)) == 1
