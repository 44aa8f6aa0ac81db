"""Which sequences share a row."""

from bisect import bisect_left, insort
from collections.abc import Callable, Iterable, Iterator
from typing import TypeVar

Item = TypeVar("Item")


def best_fit(
    items: Iterable[Item],
    size_of: Callable[[Item], int],
    length: int,
    max_items: int | None = None,
    open_rows: int | None = None,
) -> Iterator[tuple[Item, ...]]:
    """Puts each item into the open row where it leaves least room.

    For `n` items the time is that of `n log length` comparisons. Given from the
    longest to the shortest they fill rows best.

    Args:
        items: What to put into rows, none larger than `length`.
        size_of: Gives the size of an item.
        length: The size of a row.
        max_items: How many items a row takes. Defaults to any number.
        open_rows: How many rows wait for more items. When another is needed the
            fullest is closed. Defaults to any number.

    Yields:
        The rows, as they are closed.
    """
    rooms: list[int] = []  # Sorted; each has at least one row in `waiting`.
    waiting: dict[int, list[list[Item]]] = {}
    count = 0

    def take(place: int) -> list[Item]:
        room = rooms[place]
        row = waiting[room].pop()
        if not waiting[room]:
            del rooms[place], waiting[room]
        return row

    for item in items:
        size = size_of(item)
        place = bisect_left(rooms, size)
        if place < len(rooms):
            left = rooms[place] - size
            row = take(place)
            count -= 1
        else:
            if count == open_rows:
                yield tuple(take(0))
                count -= 1
            left = length - size
            row = []
        row.append(item)
        if left == 0 or len(row) == max_items:
            yield tuple(row)
            continue
        if left not in waiting:
            insort(rooms, left)
        waiting.setdefault(left, []).append(row)
        count += 1
    for room in rooms:
        yield from map(tuple, waiting[room])
