"""Compact numeric reference tables; origin and licences in PROVENANCE.md."""
