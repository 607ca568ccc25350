"""Curation: which pairs exist, which may be re-refined, and why not. No Django."""
