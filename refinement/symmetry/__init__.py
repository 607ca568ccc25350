"""Copies of one molecule in a model: found, checked against the map, and refined as one or held alike."""
