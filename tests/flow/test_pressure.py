"""How much a pipeline may hold."""

from worker.flow.pressure import Pressure


def test_there_is_room_for_as_many_messages_as_the_bound_says() -> None:
    pressure = Pressure(100, 1_000_000)
    pressure.add(40, 400)

    assert pressure.room == 60


def test_large_messages_leave_room_for_as_many_as_fit_in_bytes() -> None:
    pressure = Pressure(10_000, 1_000)
    pressure.add(5, 500)

    assert pressure.room == 5


def test_there_is_no_room_when_either_bound_is_reached() -> None:
    by_count, by_size = Pressure(10, 1_000_000), Pressure(10_000, 1_000)
    by_count.add(10, 1)
    by_size.add(2, 1_200)

    assert by_count.room == 0
    assert by_size.room == 0


def test_an_empty_pipeline_always_has_room() -> None:
    pressure = Pressure(10, 1)
    pressure.add(3, 900)
    pressure.remove(3, 900)

    assert pressure.room == 10


def test_fetching_is_resumed_only_when_half_of_both_bounds_is_free() -> None:
    pressure = Pressure(10, 1_000)
    pressure.add(10, 400)
    pressure.remove(4, 0)
    assert not pressure.relieved

    pressure.remove(1, 0)
    assert pressure.relieved

    pressure.add(0, 200)
    assert not pressure.relieved


def test_large_messages_are_taken_few_at_a_time_and_one_at_least() -> None:
    pressure = Pressure(10_000, 32 * 1024**2)
    taken = [min(500, pressure.portion)]
    for size in (300, 10_240, 5_000_000):
        pressure.add(10, 10 * size)
        taken.append(min(500, pressure.portion))

    assert taken == [500, 500, 102, 1]


def test_a_large_message_that_hangs_leaves_room_for_one_more_at_a_time() -> None:
    pressure = Pressure(10_000, 1_000)
    pressure.add(1, 700)
    beside_it = pressure.room
    pressure.add(1, 300)

    assert (beside_it, pressure.room) == (1, 0)
