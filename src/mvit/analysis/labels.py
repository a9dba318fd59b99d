"""Names beside points of a figure so that none hides another: places are tried all round, far ones get a line."""

import math
from collections.abc import Iterator, Sequence
from itertools import pairwise

Point = tuple[float, float]
Box = tuple[float, float, float, float]
"""Left, top, right, bottom."""

DISTANCES = (9.0, 15.0, 24.0, 36.0, 52.0, 72.0)
"""Pixels from a point to the nearest edge of its name."""
DIRECTIONS = (0, 12, -6, 6, 1, -1, 11, -11, 2, -2, 10, -10, -3, 3, -9, 9, -4, 4, -8, 8, -5, 5, -7, 7)
"""Twelfths of half a turn, downwards from the right; those that are tried first come first."""
DOT = 5.5
"""Half the side of what is kept free around a point."""
MARGIN = 3.0
"""Pixels between two names."""
LINE_FROM = 13.0
"""Pixels from a point to its name from which a line joins them."""
SWEEPS = 6


def placed(points: Sequence[Point], sizes: Sequence[tuple[float, float]], frame: Box) -> list[Box]:
    """A box for the name of every point, of the given (width, height), inside the frame.

    Each name goes where it and its line hide the least of points and other names, near ones first; all are placed
    again until nothing changes, at most ``SWEEPS`` times.
    """
    dots = [(x - DOT, y - DOT, x + DOT, y + DOT) for x, y in points]
    choices = [list(_choices(point, size, frame)) for point, size in zip(points, sizes, strict=True)]
    boxes = [choice[0][1] for choice in choices]
    for _ in range(SWEEPS):
        before = list(boxes)
        for index, point in enumerate(points):
            others = [box for other, box in enumerate(boxes) if other != index]
            strange = [dot for other, dot in enumerate(dots) if other != index]
            lines = [line(points[other], box) for other, box in enumerate(boxes) if other != index]
            least = math.inf
            for far, box in choices[index]:
                if least <= far:  # what comes is farther still
                    break
                if (cost := far + _hidden(point, box, others, strange, lines)) < least:
                    least, boxes[index] = cost, box
        if boxes == before:
            break
    return boxes


def line(point: Point, box: Box) -> tuple[Point, Point] | None:
    """The line that joins a point to its name where that is far: from the edge of the dot to the edge of the name."""
    x, y = point
    end = (min(max(x, box[0]), box[2]), min(max(y, box[1]), box[3]))
    distance = math.dist(point, end)
    if distance < LINE_FROM:
        return None
    share = DOT / distance
    return (x + share * (end[0] - x), y + share * (end[1] - y)), end


def overlap(one: Box, other: Box) -> float:
    """The area that two boxes share."""
    wide, tall = min(one[2], other[2]) - max(one[0], other[0]), min(one[3], other[3]) - max(one[1], other[1])
    return max(wide, 0.0) * max(tall, 0.0)


def _choices(point: Point, size: tuple[float, float], frame: Box) -> Iterator[tuple[float, Box]]:
    """Boxes inside the frame and how far they are, in pixels; of those as far, beside the point first, then above."""
    (x, y), (wide, tall) = point, size
    for distance in DISTANCES:
        for order, twelfths in enumerate(DIRECTIONS):
            angle = math.pi * twelfths / 12
            across, down = math.cos(angle), math.sin(angle)
            # The middle of the name lies so that its nearest edge, to either side or above or below, is that far off.
            middle_x = x + across * distance + math.copysign(wide / 2, across) * min(1.0, 2 * abs(across))
            middle_y = y + down * distance + math.copysign(tall / 2, down) * min(1.0, 2 * abs(down))
            box = (middle_x - wide / 2, middle_y - tall / 2, middle_x + wide / 2, middle_y + tall / 2)
            if box[0] >= frame[0] and box[1] >= frame[1] and box[2] <= frame[2] and box[3] <= frame[3]:
                yield distance + order / len(DIRECTIONS), box


def _hidden(
    point: Point, box: Box, others: Sequence[Box], dots: Sequence[Box], lines: Sequence[tuple[Point, Point] | None]
) -> float:
    """What a name and its line hide, as pixels that it might as well be farther off."""
    wide = (box[0] - MARGIN, box[1] - MARGIN, box[2] + MARGIN, box[3] + MARGIN)
    own = line(point, box)
    cost = 10 * sum(overlap(wide, other) for other in others) + 20 * sum(overlap(box, dot) for dot in dots)
    cost += 200 * sum(_crosses(other, wide) for other in lines if other)
    if own:
        cost += 200 * sum(_crosses(own, other) for other in (*others, *dots))
        cost += 200 * sum(_cross(own, other) for other in lines if other)
    return cost


def _crosses(segment: tuple[Point, Point], box: Box) -> bool:
    left, top, right, bottom = box
    if any(left < x < right and top < y < bottom for x, y in segment):
        return True
    corners = ((left, top), (right, top), (right, bottom), (left, bottom), (left, top))
    return any(_cross(segment, side) for side in pairwise(corners))


def _cross(one: tuple[Point, Point], other: tuple[Point, Point]) -> bool:
    (a, b), (c, d) = one, other
    return _turn(a, b, c) * _turn(a, b, d) < 0 and _turn(c, d, a) * _turn(c, d, b) < 0


def _turn(a: Point, b: Point, c: Point) -> float:
    return (b[0] - a[0]) * (c[1] - a[1]) - (b[1] - a[1]) * (c[0] - a[0])
