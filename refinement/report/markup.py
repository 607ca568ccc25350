"""Elements of HTML and SVG; the serialiser escapes all text, so that no name in a file can become markup."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING
from xml.etree.ElementTree import Element, tostring

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence


def tag(name: str, /, *content: Element | str | None, **attributes: str | float) -> Element:
    """Return an element.

    Parameters
    ----------
    name : str
        Name of the element.
    content : Element, str or None
        What is in it, in order; None is left out.
    attributes : str or float
        Attributes; ``class_`` is class and ``stroke_width`` is stroke-width.
    """
    made = Element(name, {key.strip("_").replace("_", "-"): number(value) for key, value in attributes.items()})
    for item in content:
        if item is None:
            continue
        if isinstance(item, Element):
            made.append(item)
        elif len(made):
            made[-1].tail = (made[-1].tail or "") + item
        else:
            made.text = (made.text or "") + item
    return made


def number(value: str | float) -> str:
    """Return an attribute's text; coordinates keep one digit."""
    if isinstance(value, str):
        return value
    text = f"{value:.1f}".removesuffix(".0")
    return "0" if text == "-0" else text


def document(root: Element) -> str:
    """Return a whole HTML page."""
    return "<!doctype html>\n" + tostring(root, encoding="unicode", method="html") + "\n"


@dataclass(frozen=True, slots=True)
class Frame:
    """The area of a plot in the units of its picture, and the values at its sides."""

    left: float
    right: float
    top: float
    bottom: float
    x_range: tuple[float, float]
    y_range: tuple[float, float]

    def x(self, value: float) -> float:
        """Return the horizontal place of a value."""
        low, high = self.x_range
        return self.left + (self.right - self.left) * (value - low) / ((high - low) or 1.0)

    def y(self, value: float) -> float:
        """Return the vertical place of a value."""
        low, high = self.y_range
        return self.bottom - (self.bottom - self.top) * (value - low) / ((high - low) or 1.0)

    def path(self, xs: Iterable[float], ys: Iterable[float]) -> str:
        """Return the data of a path through points; it is broken where a value isn't finite."""
        parts: list[str] = []
        pen = "M"
        for x, y in zip(xs, ys, strict=True):
            if not (math.isfinite(x) and math.isfinite(y)):
                pen = "M"
                continue
            parts.append(f"{pen}{number(self.x(x))} {number(self.y(y))}")
            pen = "L"
        return "".join(parts)

    def dots(self, xs: Iterable[float], ys: Iterable[float]) -> str:
        """Return the data of a path of dots, which a round line cap makes visible."""
        return "".join(f"M{number(self.x(x))} {number(self.y(y))}h0" for x, y in zip(xs, ys, strict=True))


def picture(width: float, height: float, description: str, *content: Element | None, class_: str = "plot") -> Element:
    """Return an SVG picture with a description for those who can't see it."""
    box = f"0 0 {number(width)} {number(height)}"
    return tag("svg", *content, viewBox=box, role="img", aria_label=description, class_=class_)


def axes(frame: Frame, xticks: Sequence[tuple[float, str]], yticks: Sequence[tuple[float, str]], *labels: str) -> Element:
    """Return grid, frame, ticks (value and text) and the labels of both axes."""
    group = tag("g")
    for value, text in xticks:
        x = frame.x(value)
        group.append(tag("line", x1=x, x2=x, y1=frame.top, y2=frame.bottom, class_="grid"))
        group.append(tag("text", text, x=x, y=frame.bottom + 16, class_="middle"))
    for value, text in yticks:
        y = frame.y(value)
        group.append(tag("line", x1=frame.left, x2=frame.right, y1=y, y2=y, class_="grid"))
        group.append(tag("text", text, x=frame.left - 7, y=y + 4, class_="end"))
    size = {"width": frame.right - frame.left, "height": frame.bottom - frame.top}
    group.append(tag("rect", x=frame.left, y=frame.top, class_="axis", **size))
    middle_x, middle_y = (frame.left + frame.right) / 2, (frame.top + frame.bottom) / 2
    if labels and labels[0]:
        group.append(tag("text", labels[0], x=middle_x, y=frame.bottom + 36, class_="middle"))
    if len(labels) > 1 and labels[1]:
        turn = f"translate({number(frame.left - 42)} {number(middle_y)}) rotate(-90)"
        group.append(tag("text", labels[1], transform=turn, class_="middle"))
    return group


def round_ticks(low: float, high: float, most: int = 6) -> list[tuple[float, str]]:
    """Return round values from `low` to `high`, no more than `most` and one, with their texts."""
    if not high > low:
        return [(low, f"{low:g}")]
    raw = (high - low) / most
    power = 10.0 ** math.floor(math.log10(raw))
    step = next(power * factor for factor in (1.0, 2.0, 2.5, 5.0, 10.0) if power * factor >= raw * 0.999)
    first, last = math.ceil(low / step - 1e-6), math.floor(high / step + 1e-6)
    return [(k * step, f"{k * step:.6g}".replace("-", "\N{MINUS SIGN}")) for k in range(first, last + 1)]
