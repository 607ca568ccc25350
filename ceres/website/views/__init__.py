"""Views: each asks one query object and fills one template."""
