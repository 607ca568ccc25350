"""The one registry of metrics: names, units, digits, direction, bands, and a sentence for people.

Table 1, database columns, table columns, tooltips, glossary, arrows and verdicts are all made from
these rows. Nothing else in the project may hold a list of metrics.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


class Group(StrEnum):
    """Part of Table 1 that a metric belongs to."""

    MODEL = "model"
    DATA = "data"
    FIT = "fit"
    CROSS_VALIDATION = "cross-validation"
    CHANGE = "change"


class Better(StrEnum):
    """Which way is better."""

    LOWER = "lower"
    HIGHER = "higher"
    TO_ZERO = "to zero"
    INFO = "info"


@dataclass(frozen=True, slots=True)
class Metric:
    """One metric.

    Attributes
    ----------
    key : str
        Name in files, columns and the API; a promise.
    label : str
        Name for people.
    group : Group
        Part of Table 1.
    unit : str
        Unit, "" for none.
    digits : int
        Digits after the point when shown.
    better : Better
        Direction of improvement.
    tolerance : float
        A change smaller than this is no change.
    good, poor : float or None
        Limits of the bands: at least as good as `good`, at least as bad as `poor`.
    about : str
        One or two sentences for the tooltip and the glossary.
    """

    key: str
    label: str
    group: Group
    unit: str
    digits: int
    better: Better
    tolerance: float
    about: str
    good: float | None = None
    poor: float | None = None

    def compare(self, before: float | None, after: float | None) -> str:
        """Return ``better``, ``worse``, ``same`` or ``unknown``."""
        if before is None or after is None or self.better is Better.INFO:
            return "unknown"
        gain = {Better.LOWER: before - after, Better.HIGHER: after - before, Better.TO_ZERO: abs(before) - abs(after)}[
            self.better
        ]
        if abs(gain) <= self.tolerance:
            return "same"
        return "better" if gain > 0 else "worse"

    @property
    def wanted(self) -> str:
        """Limits of the bands in words, such as ``good ≤ 10, poor ≥ 20``; empty where there are none."""
        if self.good is None or self.poor is None:
            return ""
        at_best, at_worst = ("≥", "≤") if self.better is Better.HIGHER else ("≤", "≥")
        subject = "|x| " if self.better is Better.TO_ZERO else ""
        return f"good {subject}{at_best} {self.good:g}, poor {at_worst} {self.poor:g}"

    def band(self, value: float | None) -> str:
        """Return ``good``, ``fair``, ``poor`` or ``""`` where there are no bands."""
        if value is None or self.good is None or self.poor is None:
            return ""
        value = abs(value) if self.better is Better.TO_ZERO else value
        sign = -1 if self.better is Better.HIGHER else 1
        if sign * value <= sign * self.good:
            return "good"
        return "poor" if sign * value >= sign * self.poor else "fair"


_M, _D, _F = Group.MODEL, Group.DATA, Group.FIT
_LOW, _HIGH, _ZERO, _INFO = Better.LOWER, Better.HIGHER, Better.TO_ZERO, Better.INFO

METRICS: tuple[Metric, ...] = (
    Metric("clashscore", "Clashscore", _M, "", 2, _LOW, 0.5,
           "Pairs of atoms that overlap by 0.4 Å or more, per 1000 atoms, hydrogens included.", 10.0, 20.0),
    Metric("molprobity_score", "MolProbity score", _M, "", 2, _LOW, 0.05,
           "Clashscore, rotamer outliers and Ramachandran favoured in one number on the scale of resolution.", 2.0, 3.0),
    Metric("bonds_rmsd", "Bond lengths, rmsd", _M, "Å", 4, _INFO, 0.001,
           "Root-mean-square deviation of bond lengths from their targets. Very small values mean tight restraints, not a better model."),
    Metric("bonds_rmsz", "Bond lengths, rmsZ", _M, "", 2, _INFO, 0.05,
           "Bond deviations in units of their standard deviations; 0 to 1 is expected."),
    Metric("angles_rmsd", "Bond angles, rmsd", _M, "°", 2, _INFO, 0.05,
           "Root-mean-square deviation of bond angles from their targets."),
    Metric("angles_rmsz", "Bond angles, rmsZ", _M, "", 2, _INFO, 0.05,
           "Angle deviations in units of their standard deviations; 0 to 1 is expected."),
    Metric("cbeta_deviations", "Cβ deviations", _M, "", 0, _LOW, 0.5,
           "Residues whose Cβ lies 0.25 Å or more from where the backbone wants it.", 0.0, 5.0),
    Metric("rotamer_outliers", "Rotamer outliers", _M, "%", 2, _LOW, 0.1,
           "Side chains in conformations that are rare in good structures (score below 0.3 %).", 0.5, 2.0),
    Metric("rotamer_favored", "Rotamers favoured", _M, "%", 1, _HIGH, 0.2,
           "Side chains in common conformations (score of 2 % or more).", 98.0, 95.0),
    Metric("rama_favored", "Ramachandran favoured", _M, "%", 1, _HIGH, 0.2,
           "Residues in the favoured region of the Ramachandran plot.", 98.0, 95.0),
    Metric("rama_allowed", "Ramachandran allowed", _M, "%", 1, _INFO, 0.2,
           "Residues in the allowed, not favoured, region of the Ramachandran plot."),
    Metric("rama_outliers", "Ramachandran outliers", _M, "%", 2, _LOW, 0.05,
           "Residues outside the allowed region of the Ramachandran plot.", 0.2, 1.0),
    Metric("rama_z", "Rama-Z", _M, "", 2, _ZERO, 0.1,
           "How normal the whole Ramachandran distribution is; beyond ±2 is suspicious, beyond ±3 poor.", 2.0, 3.0),
    Metric("rama_z_helix", "Rama-Z, helix", _M, "", 2, _ZERO, 0.2, "Rama-Z of the helical residues.", 2.0, 3.0),
    Metric("rama_z_sheet", "Rama-Z, sheet", _M, "", 2, _ZERO, 0.2, "Rama-Z of the residues in strands.", 2.0, 3.0),
    Metric("rama_z_loop", "Rama-Z, loop", _M, "", 2, _ZERO, 0.2, "Rama-Z of the other residues.", 2.0, 3.0),
    Metric("cis_nonproline", "Cis peptides (not Pro)", _M, "", 0, _LOW, 0.5,
           "Peptide bonds before residues other than proline with |ω| below 30°; about 3 in 10,000 are real."),
    Metric("twisted_peptides", "Twisted peptides", _M, "", 0, _LOW, 0.5, "Peptide bonds with |ω| between 30° and 150°."),
    Metric("cablam_outliers", "CaBLAM outliers", _M, "%", 2, _LOW, 0.1,
           "Residues whose Cα trace and peptide orientation rarely go together.", 1.0, 5.0),
    Metric("cablam_disfavored", "CaBLAM disfavoured", _M, "%", 2, _LOW, 0.2, "As CaBLAM outliers, at the 5 % level.", 5.0, 10.0),
    Metric("ca_geometry_outliers", "Cα geometry outliers", _M, "%", 2, _LOW, 0.1, "Residues with an unusual Cα trace.", 0.5, 1.0),
    Metric("min_nonbonded_distance", "Shortest nonbonded distance", _M, "Å", 2, _INFO, 0.05,
           "The smallest distance between two atoms that aren't bonded; below 1 Å something is wrong."),
    Metric("na_pucker_outliers", "Sugar pucker outliers", _M, "%", 2, _LOW, 0.1, "Riboses whose pucker doesn't fit the phosphate position."),
    Metric("na_suite_outliers", "RNA suite outliers", _M, "%", 2, _LOW, 0.1, "RNA backbone suites that match no known conformer."),
    Metric("chirality_outliers", "Chirality outliers", _M, "", 0, _LOW, 0.5, "Chiral centres more than 4 σ from their target volume."),
    Metric("planarity_outliers", "Planarity outliers", _M, "", 0, _LOW, 0.5, "Planar groups with an atom more than 4 σ out of the plane."),
    Metric("resolution", "Resolution (consensus)", _D, "Å", 2, _INFO, 0.0, "The resolution on which the PDB and EMDB entries agree."),
    Metric("d_fsc", "d FSC (half-maps)", _D, "Å", 2, _INFO, 0.05, "Where the correlation of the half-maps falls to 0.143, unmasked."),
    Metric("d_fsc_masked", "d FSC (half-maps, masked)", _D, "Å", 2, _INFO, 0.05, "The same inside a soft mask around the model."),
    Metric("d_99", "d99", _D, "Å", 2, _INFO, 0.05, "Resolution beyond which the map's Fourier terms no longer matter."),
    Metric("d_model", "d model", _D, "Å", 2, _INFO, 0.1, "Resolution at which the model map resembles the map most."),
    Metric("d_model_b0", "d model, B = 0", _D, "Å", 2, _INFO, 0.1, "The same with all B factors set to zero."),
    Metric("d_fsc_model_0143", "d FSC model (0.143)", _D, "Å", 2, _INFO, 0.05, "Where model–map correlation falls to 0.143, unmasked."),
    Metric("d_fsc_model_05", "d FSC model (0.5)", _D, "Å", 2, _INFO, 0.05, "Where model–map correlation falls to 0.5, unmasked."),
    Metric("map_min", "Map minimum", _D, "", 4, _INFO, 0.0, "Smallest value of the primary map."),
    Metric("map_max", "Map maximum", _D, "", 4, _INFO, 0.0, "Largest value of the primary map."),
    Metric("map_mean", "Map mean", _D, "", 5, _INFO, 0.0, "Mean value of the primary map."),
    Metric("map_sd", "Map standard deviation", _D, "", 5, _INFO, 0.0, "Standard deviation of the primary map over the whole box."),
    Metric("map_skewness", "Map skewness", _D, "", 3, _INFO, 0.0, "Third moment over the cube of the standard deviation."),
    Metric("map_kurtosis", "Map kurtosis", _D, "", 3, _INFO, 0.0, "Fourth moment over the fourth power of the standard deviation (3 for noise)."),
    Metric("cc_mask", "CC mask", _F, "", 3, _HIGH, 0.005, "Correlation of map and model map inside the molecular mask.", 0.6, 0.3),
    Metric("cc_box", "CC box", _F, "", 3, _HIGH, 0.005, "Correlation over the whole box; depends on how it was cut.", 0.6, 0.3),
    Metric("cc_volume", "CC volume", _F, "", 3, _HIGH, 0.005, "Correlation at the strongest points of the model map.", 0.6, 0.3),
    Metric("cc_peaks", "CC peaks", _F, "", 3, _HIGH, 0.005, "Correlation at the strongest points of either map.", 0.6, 0.3),
    Metric("cc_main_chain", "CC main chain", _F, "", 3, _HIGH, 0.005, "Correlation around main-chain atoms.", 0.6, 0.3),
    Metric("cc_side_chain", "CC side chain", _F, "", 3, _HIGH, 0.005, "Correlation around side-chain atoms.", 0.6, 0.3),
    Metric("emringer", "EMRinger", _F, "", 2, _HIGH, 0.3, "How often side-chain density peaks at rotameric angles; meaningful below 4.5 Å.", 2.0, 1.0),
    Metric("q_score", "Q-score (σ 0.4)", _F, "", 3, _HIGH, 0.005, "How atom-like the map is around the atoms, as EMDB reports it."),
    Metric("q_score_06", "Q-score (σ 0.6)", _F, "", 3, _HIGH, 0.005, "The same with the width of the original paper."),
    Metric("atom_inclusion", "Atom inclusion", _F, "", 3, _HIGH, 0.005, "Fraction of the non-hydrogen atoms inside the author's contour."),
    Metric("atom_inclusion_emdb", "Atom inclusion (EMDB)", _F, "", 3, _HIGH, 0.005, "The same as EMDB counts it (atoms with an H in their name left out)."),
    Metric("fsc_work", "FSC work", Group.CROSS_VALIDATION, "", 3, _INFO, 0.005, "Mean model–map correlation against the half-map refined into."),
    Metric("fsc_free", "FSC free", Group.CROSS_VALIDATION, "", 3, _INFO, 0.005, "The same against the other half-map."),
    Metric("fsc_gap", "FSC gap", Group.CROSS_VALIDATION, "", 3, _INFO, 0.005, "Work minus free; beyond 0.02 the model is over-fitted."),
    Metric("rmsd_to_initial", "Rmsd to deposited", Group.CHANGE, "Å", 2, _INFO, 0.0, "Shift of the non-hydrogen atoms, without superposition."),
    Metric("rotamers_changed", "Rotamers changed", Group.CHANGE, "", 0, _INFO, 0.0, "Side chains that moved to another rotamer."),
    Metric("peptides_flipped", "Peptides flipped", Group.CHANGE, "", 0, _INFO, 0.0, "Peptide planes that turned by more than 90°."),
    Metric("residues_moved", "Residues moved > 1 Å", Group.CHANGE, "", 0, _INFO, 0.0, "Residues whose atoms moved by more than 1 Å (rms)."),
)  # fmt: skip

BY_KEY: dict[str, Metric] = {metric.key: metric for metric in METRICS}

MASKED_TWINS: frozenset[str] = frozenset({"d_99", "d_model", "d_model_b0", "d_fsc_model_0143", "d_fsc_model_05"})
"""Metrics of the data that also exist with the suffix ``_masked``."""

REASONS: dict[str, str] = {
    "not_applicable": "There is nothing in this model that the metric could be computed for.",
    "not_computed": "This version of the engine doesn't compute the metric yet.",
    "no_half_maps": "The entry has no half-maps.",
    "not_reached": "The curve never falls to the level that the metric asks for.",
    "not_cross_validated": "The model wasn't refined into one half-map alone.",
    "no_contour": "The entry gives no recommended contour level.",
    "resolution_too_low": "The metric isn't meaningful at this resolution.",
    "reference_table_missing": "The reference table isn't installed.",
    "component_missing": "One of the numbers that it is made of is missing.",
    "no_refined_model": "There is no refined model.",
    "failed": "The computation failed; the log says why.",
}
"""Why a metric has no value: code and sentence."""
