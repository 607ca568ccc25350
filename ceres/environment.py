"""Read typed values from the environment, and remember which names were read."""

from __future__ import annotations

import os
from pathlib import Path

from django.core.exceptions import ImproperlyConfigured

_TRUE, _FALSE = {"1", "true", "yes", "on"}, {"", "0", "false", "no", "off"}
_names: set[str] = set()


def names_read() -> frozenset[str]:
    """Return the names of all variables that were asked for so far."""
    return frozenset(_names)


def text(name: str, default: str = "") -> str:
    """Return the variable, without surrounding white space."""
    _names.add(name)
    return os.environ.get(name, default).strip()


def flag(name: str, *, default: bool = False) -> bool:
    """Return the variable as true or false."""
    value = text(name, "1" if default else "0").lower()
    if value not in _TRUE | _FALSE:
        message = f"{name} is {value!r}; write 1 or 0."
        raise ImproperlyConfigured(message)
    return value in _TRUE


def integer(name: str, default: int, *, minimum: int = 0) -> int:
    """Return the variable as an integer that is not smaller than `minimum`."""
    value = text(name, str(default))
    if not value.isascii() or not value.isdigit() or int(value) < minimum:
        message = f"{name} is {value!r}; write an integer of at least {minimum}."
        raise ImproperlyConfigured(message)
    return int(value)


def names(name: str, default: str = "") -> list[str]:
    """Return the comma-separated parts of the variable, empty ones left out."""
    return [part.strip() for part in text(name, default).split(",") if part.strip()]


def secret(name: str, default: str = "") -> str:
    """Return the variable `name`, or the content of the file that `name`_FILE names."""
    path = text(f"{name}_FILE")
    if not path:
        return text(name, default)
    _names.add(name)
    try:
        return Path(path).read_text(encoding="utf-8").strip()
    except (OSError, UnicodeDecodeError) as error:
        message = f"{name}_FILE names {path}, which can't be read ({error})."
        raise ImproperlyConfigured(message) from error
