"""Drawing in SVG with plain text: scales, ticks that people like to read, and escaped elements. Knows no result."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from html import escape
from typing import Final

NICE: Final = (1.0, 2.0, 2.5, 5.0, 10.0)


@dataclass(frozen=True, slots=True)
class Scale:
    """Maps values to coordinates, evenly or by their logarithm."""

    low: float
    high: float
    start: float
    end: float
    log: bool = False

    def __call__(self, value: float) -> float:
        """Return the coordinate of a value; one outside the scale is put on its edge."""
        low, high, value = self.low, self.high, min(max(value, self.low), self.high)
        if self.log:
            low, high, value = math.log(low), math.log(high), math.log(value)
        share = (value - low) / (high - low) if high > low else 0.0
        return self.start + share * (self.end - self.start)


def element(name: str, content: str = "", **attributes: str | float) -> str:
    """Write an element; `content` is markup. In a name, an underscore stands for a hyphen, at its end for nothing."""
    written = "".join(
        f' {key.rstrip("_").replace("_", "-")}="{_attribute(value)}"' for key, value in attributes.items()
    )
    return f"<{name}{written}>{content}</{name}>" if content else f"<{name}{written}/>"


def text(x: float, y: float, content: str, *, kind: str = "", anchor: str = "start") -> str:
    """Write words at a place; `kind` is a class of the page's style."""
    return element("text", escape(content), x=x, y=y, class_=kind, text_anchor=anchor)


def rect(x: float, y: float, width: float, height: float, *, kind: str, title: str = "") -> str:
    """Draw a bar; `title` is what a pointer over it is told."""
    told = element("title", escape(title)) if title else ""
    return element("rect", told, x=x, y=y, width=max(0.0, width), height=height, rx=2, class_=kind)


def line(x1: float, y1: float, x2: float, y2: float, *, kind: str) -> str:
    """Draw a straight line."""
    return element("line", x1=x1, y1=y1, x2=x2, y2=y2, class_=kind)


def curve(points: Sequence[tuple[float, float]], *, kind: str, title: str = "") -> str:
    """Draw a line through points."""
    told = element("title", escape(title)) if title else ""
    return element("polyline", told, points=" ".join(f"{x:.1f},{y:.1f}" for x, y in points), class_=kind)


def picture(width: float, height: float, parts: Sequence[str], *, label: str) -> str:
    """Put parts together; `label` says what the picture shows to those who cannot see it."""
    return element("svg", "".join(parts), viewBox=f"0 0 {width:g} {height:g}", role="img", aria_label=label)


def ticks(low: float, high: float, count: int) -> list[float]:
    """Return about `count` round numbers between two values."""
    if high <= low:
        return [low]
    rough = (high - low) / max(1, count)
    magnitude = 10.0 ** math.floor(math.log10(rough))
    step = next(nice * magnitude for nice in NICE if nice * magnitude >= rough * 0.999)
    first = math.ceil(low / step - 1e-9)
    return [number * step for number in range(first, math.floor(high / step + 1e-9) + 1)]


def log_ticks(low: float, high: float) -> list[float]:
    """Return 1, 2 and 5 times the powers of ten between two values above 0."""
    powers = range(math.floor(math.log10(low)), math.ceil(math.log10(high)) + 1)
    found = [digit * 10.0**power for power in powers for digit in (1, 2, 5)]
    return [value for value in found if low <= value <= high]


def number(value: float) -> str:
    """Write a number with three digits that matter, and no more."""
    if not value:
        return "0"
    digits = max(0, 2 - math.floor(math.log10(abs(value))))
    written = f"{value:,.{digits}f}".replace(",", "\u202f")  # a narrow space, as the SI asks for
    return written.rstrip("0").rstrip(".") if digits else written


def signed(value: float, digits: int, unit: str) -> str:
    """Write a difference, with the minus sign that is as wide as the plus."""
    return f"{value:+,.{digits}f} {unit}".replace(",", "\u202f").replace("-", "\N{MINUS SIGN}")


def _attribute(value: str | float) -> str:
    return escape(value) if isinstance(value, str) else f"{value:.2f}".rstrip("0").rstrip(".")
