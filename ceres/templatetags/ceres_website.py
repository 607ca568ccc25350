"""Tags and filters of the pages."""

from __future__ import annotations

from django import template

import refinement
from ceres.website import formats

register = template.Library()
register.filter("grouped", formats.grouped)
register.filter("file_size", formats.file_size)
register.filter("spelled", formats.spelled)
register.filter("method", formats.method)


@register.simple_tag
def ceres_version() -> str:
    """Return the version of the project."""
    return refinement.__version__


@register.filter
def digits(value: float | None, count: int) -> str:
    """Return a number with `count` digits after the point, "n/a" for None."""
    return formats.number(value, count) or "n/a"
