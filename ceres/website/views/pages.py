"""Pages with little data: glossary, about, errors."""

from __future__ import annotations

from typing import TYPE_CHECKING

from django.http import HttpResponse
from django.shortcuts import redirect, render
from django.templatetags.static import static
from django.views.decorators.http import require_safe

from ceres.website import glossary as terms

if TYPE_CHECKING:
    from django.http import HttpRequest


@require_safe
def glossary(request: HttpRequest) -> HttpResponse:
    """Explain every metric, code and verdict."""
    context = {
        "page": "glossary",
        "metric_groups": terms.metric_groups(),
        "findings": terms.finding_terms(),
        "reasons": terms.reason_terms(),
        "verdicts": terms.verdict_terms(),
    }
    return render(request, "website/glossary.html", context)


@require_safe
def about(request: HttpRequest) -> HttpResponse:
    """Say what this is and how it is made."""
    return render(request, "website/about.html", {"page": "about"})


@require_safe
def robots(_request: HttpRequest) -> HttpResponse:
    """Let robots read the pages, not the files and the endless combinations of filters."""
    lines = [
        "User-agent: *",
        "Disallow: /admin/",
        "Disallow: /search/",
        "Disallow: /results.csv",
        "Disallow: /entry/*/files/",
        "",
    ]
    return HttpResponse("\n".join(lines), content_type="text/plain; charset=utf-8")


@require_safe
def favicon(_request: HttpRequest) -> HttpResponse:
    """Send browsers that ask for the old name to the drawing."""
    return redirect(static("img/favicon.svg"), permanent=True)


def not_found(request: HttpRequest, exception: Exception) -> HttpResponse:
    """Say what doesn't exist, in the frame of the other pages."""
    message = exception.args[0] if exception.args and isinstance(exception.args[0], str) else ""
    return render(request, "404.html", {"message": message}, status=404)
