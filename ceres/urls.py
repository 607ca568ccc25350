"""Addresses of the site."""

from __future__ import annotations

from django.contrib import admin
from django.urls import include, path

from ceres.health import health

urlpatterns = [
    path("admin/", admin.site.urls),
    path("health/", health, name="health"),
    path("", include("ceres.website.urls")),
]

handler404 = "ceres.website.views.pages.not_found"
