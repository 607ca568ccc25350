"""The page that counts findings by month."""

from __future__ import annotations

from typing import TYPE_CHECKING

from django.shortcuts import render
from django.views.decorators.http import require_safe

from ceres.website.statistics import statistics

if TYPE_CHECKING:
    from django.http import HttpRequest, HttpResponse


@require_safe
def findings(request: HttpRequest) -> HttpResponse:
    """Show how often curation excluded pairs, why, and what else it found, by month."""
    return render(request, "website/statistics.html", {"page": "statistics", "statistics": statistics()})
