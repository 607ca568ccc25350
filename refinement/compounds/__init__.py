"""Restraints for compounds that no dictionary describes, made from their chemistry."""
