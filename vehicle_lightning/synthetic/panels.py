"""One side of a hull as a flat sheet, on which windows, stripes and words are laid."""

from collections.abc import Callable
from dataclasses import dataclass
from itertools import pairwise

from vehicle_lightning.synthetic.bodies import Body, Hull, Shape, Span
from vehicle_lightning.synthetic.canvas import Brush, Colour, Point


@dataclass(frozen=True)
class Panel:
    """A sheet with coordinates (along, up), both in shares of the body's size.

    On the sides `along` runs from the rear (0) to the front (1); at the front and the rear it runs
    from the vehicle's right (-1) to its left (1).
    """

    brush: Brush
    body: Body
    place: Callable[[float, float], Point]  # where a spot of the sheet lies in metres
    outline: Shape  # counter-clockwise
    reach: Span  # first and last `along`
    mirrored: bool  # the viewer sees `along` run to the left

    def fill(self, shape: Shape, colour: Colour, alpha: float = 1.0) -> None:
        """A shape that lies within the outline."""
        points = [self.place(along, up) for along, up in shape]
        if (_area(shape) < 0) != self.mirrored:
            points.reverse()
        self.brush.face(points, colour, alpha)

    def trim(self, shape: Shape, colour: Colour, alpha: float = 1.0) -> None:
        """The part of a convex shape that lies within the outline."""
        kept = _clip(self.outline, shape if _area(shape) > 0 else shape[::-1])
        if len(kept) > 2:
            self.fill(kept, colour, alpha)

    def rectangle(self, low: Span, high: Span, colour: Colour, alpha: float = 1.0) -> None:
        """An upright rectangle, cut at the ends of the sheet."""
        start, end = max(low[0], self.reach[0]), min(high[0], self.reach[1])
        if start < end:
            shape = ((start, low[1]), (end, low[1]), (end, high[1]), (start, high[1]))
            self.fill(shape, colour, alpha)

    def text(self, low: Span, high: Span, words: str, colour: Colour) -> None:
        """Words that fill a rectangle, readable from outside."""
        left, right = (high[0], low[0]) if self.mirrored else (low[0], high[0])
        spots = ((left, high[1]), (right, high[1]), (right, low[1]), (left, low[1]))
        self.brush.text([self.place(*spot) for spot in spots], words, colour)


def side_panel(brush: Brush, body: Body, hull: Hull, side: float) -> Panel:
    """The left (side = 1) or right (side = -1) of a hull."""
    place = lambda u, w: body.at(hull, u, side, w)  # noqa: E731
    return Panel(brush, body, place, hull.outline, hull.span, side > 0)


def end_panel(brush: Brush, body: Body, hull: Hull, chain: Shape) -> Panel:
    """The front or the rear of a hull, following a chain of its outline upwards."""
    low, high = chain[0][1], chain[-1][1]
    outline = ((-1.0, low), (1.0, low), (1.0, high), (-1.0, high))

    def place(v: float, w: float) -> Point:
        for (u0, w0), (u1, w1) in pairwise(chain):
            if w <= w1 and w1 > w0:
                return body.at(hull, u0 + (u1 - u0) * max(0.0, w - w0) / (w1 - w0), v, w)
        return body.at(hull, chain[-1][0], v, w)

    return Panel(brush, body, place, outline, (-1.0, 1.0), mirrored=chain is hull.rear)


def _area(shape: Shape) -> float:
    """Twice the area, positive when the corners run counter-clockwise."""
    return sum(
        x0 * y1 - x1 * y0 for (x0, y0), (x1, y1) in zip(shape, shape[1:] + shape[:1], strict=True)
    )


def _clip(subject: Shape, window: Shape) -> Shape:
    """Cut a polygon to a convex, counter-clockwise one (Sutherland and Hodgman)."""
    for (ax, ay), (bx, by) in zip(window, window[1:] + window[:1], strict=True):
        kept = []
        sides = [(bx - ax) * (y - ay) - (by - ay) * (x - ax) for x, y in subject]
        for index, (here, side) in enumerate(zip(subject, sides, strict=True)):
            before, side_before = subject[index - 1], sides[index - 1]
            if (side < 0) != (side_before < 0):
                share = side_before / (side_before - side)
                x = before[0] + share * (here[0] - before[0])
                kept.append((x, before[1] + share * (here[1] - before[1])))
            if side >= 0:
                kept.append(here)
        subject = tuple(kept)
        if len(subject) < 3:
            return ()
    return subject
