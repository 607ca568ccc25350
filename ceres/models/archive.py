"""What the archives hold: one row per map–model pair."""

from __future__ import annotations

from django.db import models


class Entry(models.Model):
    """A map with its model, or a map without one.

    Identifiers are strings of any length: 12-character PDB ids exist, and EMDB numbers keep their
    leading zeros. The facts are those that curation read last.
    """

    key = models.TextField(unique=True, help_text="6gyn_0093, or EMD-44046 where there is no model")
    pdb_id = models.TextField(null=True, blank=True, help_text="lower case")
    emdb_id = models.TextField(help_text="EMD-0093")
    title = models.TextField(blank=True, default="")
    method = models.TextField(blank=True, default="")
    released = models.DateField(null=True, blank=True)
    resolution = models.FloatField(null=True, blank=True, help_text="consensus of PDB and EMDB, Å")
    atoms = models.PositiveBigIntegerField(null=True, blank=True)
    chains = models.PositiveIntegerField(null=True, blank=True)
    facts = models.JSONField(default=dict, blank=True)
    latest_result = models.ForeignKey("Result", null=True, blank=True, on_delete=models.PROTECT, related_name="+")
    created_at = models.DateTimeField(auto_now_add=True)
    updated_at = models.DateTimeField(auto_now=True)

    class Meta:
        ordering = ["key"]
        verbose_name_plural = "entries"
        indexes = [models.Index(fields=["pdb_id"]), models.Index(fields=["emdb_id"])]

    def __str__(self) -> str:
        return self.key

    @property
    def emdb_number(self) -> str:
        """The EMDB number with its leading zeros, without the prefix."""
        return self.emdb_id.removeprefix("EMD-")

    @property
    def folder(self) -> str:
        """Name of the folder that shares the entries out: the two characters before the last of the PDB id."""
        return (self.pdb_id or self.emdb_number)[-3:-1]
