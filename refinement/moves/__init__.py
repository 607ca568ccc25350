"""Moves: each takes a state and returns a state with a record of what changed."""
