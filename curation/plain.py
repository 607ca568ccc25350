"""Values that JSON and every database take."""

from __future__ import annotations

import math
from typing import Any


def plain(value: Any) -> Any:
    """Return a value of dicts, lists, strings and numbers that can be stored anywhere.

    Numbers that aren't finite become None, because JSON has neither NaN nor infinity. Zero bytes and halves of characters
    become replacement characters: PostgreSQL refuses the first, UTF-8 the second. Files may hold all of these.
    """
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, str):
        return value.encode("utf-8", "replace").decode().replace("\x00", "\ufffd")
    if isinstance(value, dict):
        return {plain(key): plain(inner) for key, inner in value.items()}
    if isinstance(value, list | tuple):
        return [plain(inner) for inner in value]
    return value
