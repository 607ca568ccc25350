"""Errors that a user may see: a code, a sentence with the numbers in it, and a hint."""

from __future__ import annotations


class CeresError(Exception):
    """A fault that the user can understand and mend.

    Parameters
    ----------
    code : str
        Stable machine-readable name, e.g. ``map_truncated``.
    message : str
        One sentence that names the file and says what is wrong, with numbers.
    hint : str
        What to do about it; may be empty.
    """

    def __init__(self, code: str, message: str, hint: str = "") -> None:
        super().__init__(message)
        self.code = code
        self.message = message
        self.hint = hint

    def __str__(self) -> str:
        return f"{self.message} {self.hint}".strip()


class InputError(CeresError):
    """The input can't be used (exit status 2)."""


class ModelError(InputError):
    """The model file can't be used."""


class MapError(InputError):
    """The map file can't be used."""


class RestraintError(InputError):
    """No restraints can be made for a compound or a link."""
