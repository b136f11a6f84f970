"""What goes wrong on the way: each fault does what it says, as often as it says, and nothing else."""

from collections import Counter
from random import Random

from services.common.message import Message, Reading
from services.simulator.faults import ABSURD_TIMES, Faults, suffer
from services.simulator.phone import Due

START = 1_790_000_000 * 10**9
PERIOD = 500_000_000
COUNT = 2000
RIGHT_CLOCK = next(seed for seed in range(10) if Random(seed).random() >= 0.1)
"""Seed of a phone whose clock is right in general, although one in ten is not."""


def dues(count=COUNT):
    for number in range(count):
        time = START + number * PERIOD
        yield Due(time + PERIOD, Message("device", "session", [Reading("a", time, {"x": number})] * 3, number))


def sent(seed=0, count=COUNT, **faults):
    return list(suffer(dues(count), Faults(**faults), Random(seed)))


def ids(sendings):
    return [due.message.messageId for due in sendings]


def about(share):
    return range(int(COUNT * share * 0.7), int(COUNT * share * 1.3))


def test_without_faults_nothing_changes():
    """Chances of 0 leave the stream as it is."""
    assert sent() == list(dues())


def test_no_messages():
    """A phone that has nothing to send sends nothing."""
    assert sent(count=0, duplicates=1.0) == []


def test_same_chance_same_faults():
    """The same seed does the same damage, another seed another."""
    faults = {"duplicates": 0.1, "reordering": 0.1, "gaps": 0.1, "late": 0.1, "wrong_clocks": 0.1}
    assert sent(**faults) == sent(**faults)
    assert ids(sent(**faults)) != ids(sent(seed=1, **faults))


def test_duplicates():
    """A duplicate is the same message once more; none is lost and none comes three times."""
    counts = Counter(ids(sent(duplicates=0.1)))
    assert set(counts) == set(range(COUNT))
    assert set(counts.values()) == {1, 2}
    assert list(counts.values()).count(2) in about(0.1)


def test_duplicates_are_the_same_message():
    """What is sent twice is the same to the last reading, even from a phone whose clock is wrong."""
    seen = {}
    for due in sent(duplicates=0.3, wrong_clocks=0.3):
        assert seen.setdefault(due.message.messageId, due.message) == due.message


def test_reordering():
    """A reordered message is sent right after its follower."""
    order = ids(sent(reordering=0.05))
    assert sorted(order) == list(range(COUNT))
    late = [number for number, follower in zip(order[1:], order, strict=False) if follower > number]
    assert len(late) in about(0.05)
    assert all(abs(position - number) <= 2 for position, number in enumerate(order))


def test_gaps():
    """A gap is a messageId that is never sent."""
    order = ids(sent(gaps=0.1))
    assert order == sorted(order)
    assert COUNT - len(order) in about(0.1)


def test_late():
    """A late message is sent that much after it was due, the others on time."""
    delays = Counter(due.time - (START + (due.message.messageId + 1) * PERIOD) for due in sent(late=0.1, late_by=20.0))
    assert sum(count for delay, count in delays.items() if delay) in about(0.1)
    end = [delay for delay in delays if delay not in (0, 20 * 10**9)]
    assert all(0 < delay < 20 * 10**9 for delay in end)


def test_held_back_messages_are_sent_at_the_end():
    """What is still held back when the recording ends is sent then, and no later."""
    everything = sent(late=1.0, late_by=3600.0)
    assert sorted(ids(everything)) == list(range(COUNT))
    assert {due.time for due in everything} == {START + COUNT * PERIOD}


def test_sendings_are_in_the_order_of_time():
    """Whatever goes wrong, a sending never lies before the one in front of it."""
    times = [due.time for due in sent(duplicates=0.2, reordering=0.2, late=0.2, late_by=7.0)]
    assert times == sorted(times)


def test_wrong_clocks_date_single_readings():
    """A wrong clock dates one reading of a message 1970 or 2100 and leaves its neighbours."""
    wrong = [
        [reading.time for reading in due.message.payload if reading.time in ABSURD_TIMES]
        for due in sent(seed=RIGHT_CLOCK, wrong_clocks=0.1)
    ]
    assert Counter(map(len, wrong)).keys() == {0, 1}
    assert {time for times in wrong for time in times} == set(ABSURD_TIMES)
    assert sum(map(len, wrong)) in about(0.1)


def test_wrong_clocks_leave_the_original():
    """The messages that a phone made are not altered: who kept one still has it as it was."""
    made = list(dues())
    assert list(suffer(iter(made), Faults(wrong_clocks=0.1), Random(RIGHT_CLOCK))) != made
    assert made == list(dues())


def test_wrong_clocks_shift_whole_phones():
    """A phone whose clock is off is off by the same time in all its readings, but sends when it is due."""
    everything = sent(wrong_clocks=1.0)
    offsets = {
        reading.time - (START + due.message.messageId * PERIOD)
        for due in everything
        for reading in due.message.payload
        if reading.time not in ABSURD_TIMES
    }
    assert len({offset // 10**9 for offset in offsets}) == 1
    assert offsets != {0}
    assert [due.time for due in everything] == [due.time for due in dues()]
