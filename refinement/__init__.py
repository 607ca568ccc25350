"""The engine: arrays in, arrays out. No Django, no network, no database."""

from __future__ import annotations

__version__ = "0.1.0"
