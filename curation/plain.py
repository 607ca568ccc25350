"""Values that JSON and every database take."""

from __future__ import annotations

import math
from typing import Any


def plain(value: Any) -> Any:
    """Return a value of dicts, lists, strings and numbers with None for every number that isn't finite.

    JSON has no NaN and no infinity, and databases refuse them; files may hold both.
    """
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, dict):
        return {key: plain(inner) for key, inner in value.items()}
    if isinstance(value, list | tuple):
        return [plain(inner) for inner in value]
    return value
