"""Validation: one module per metric, a registry, and Table 1."""
