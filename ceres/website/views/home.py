"""Home page and search."""

from __future__ import annotations

from typing import TYPE_CHECKING

from django.core.cache import cache
from django.shortcuts import redirect, render
from django.views.decorators.http import require_safe

from ceres.website import queries
from ceres.website.charts import scatter
from curation.identifiers import parse_query

if TYPE_CHECKING:
    from django.http import HttpRequest, HttpResponse

LONGEST_QUERY = 200
FIGURE_METRIC = "cc_mask"


@require_safe
def home(request: HttpRequest) -> HttpResponse:
    """Show the search box, what there is, and what refinement did to it."""
    page = queries.HomePage()
    # results never change, so the figure is that of the newest one until there is another
    name = f"figure:{FIGURE_METRIC}:{page.newest[0].pk if page.newest else 0}:{page.published}"
    figure = cache.get_or_set(name, lambda: scatter(FIGURE_METRIC, page.before_and_after(FIGURE_METRIC)))
    return render(request, "website/home.html", {"page": "home", "home": page, "figure": figure})


@require_safe
def search(request: HttpRequest) -> HttpResponse:
    """Go to the one entry that the text names, list several, or say why there is none (404)."""
    text = request.GET.get("q", "").strip()[:LONGEST_QUERY]
    if not text:
        return redirect("website:home")
    found = queries.search(text)
    if len(found) == 1:
        return redirect("website:entry", key=found[0].key)
    context = {"query": text, "entries": found, "understood": parse_query(text)}
    return render(request, "website/search.html", context, status=200 if found else 404)
