"""Restraints: who is bonded to whom, and one module per energy term."""
