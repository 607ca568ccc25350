"""Numbers and names as people read them."""

from __future__ import annotations

import re

MINUS = "−"
ARROWS = {"better": "▲", "worse": "▼", "same": "≈"}
"""Sign of a comparison; the word always stands beside it."""

WORDS = {"better": "better", "worse": "worse", "same": "same"}


def number(value: float | None, digits: int) -> str:
    """Return a number with a fixed count of digits and a true minus sign; "" for None."""
    if value is None:
        return ""
    text = f"{value:.{digits}f}"
    if text.startswith("-"):
        text = text[1:] if float(text) == 0.0 else MINUS + text[1:]
    return text


def signed(value: float, digits: int) -> str:
    """Return a difference with its sign; an exact zero after rounding has none."""
    text = number(value, digits)
    return text if text.startswith(MINUS) or float(text) == 0.0 else f"+{text}"


def grouped(value: int | None) -> str:
    """Return a count with narrow spaces between groups of three digits."""
    return "" if value is None else f"{value:,}".replace(",", "\u202f")


def file_size(size: int) -> str:
    """Return a size in bytes, kB or MB (powers of 1000)."""
    if size < 1000:
        return f"{size} bytes"
    if size < 1_000_000:
        return f"{size / 1000:.1f} kB"
    return f"{size / 1_000_000:.1f} MB"


def method(text: str) -> str:
    """Return the archives' names of methods as words: ``ELECTRON MICROSCOPY, singleParticle``."""
    spaced = re.sub(r"(?<=[a-z])(?=[A-Z])", " ", text)
    return spaced.lower()


def spelled(code: str) -> str:
    """Return a code such as ``RESOLUTION_MISMATCH`` as words: ``Resolution mismatch``."""
    return code.replace("_", " ").capitalize()
