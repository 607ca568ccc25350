"""Every setting of the engine in one frozen model, with the reason of its default beside it."""

from __future__ import annotations

import hashlib
import json
from typing import Literal, get_args

from pydantic import BaseModel, ConfigDict, Field

from refinement.errors import InputError

Ncs = Literal["auto", "constraints", "restraints", "off"]
"""What is done with copies of one molecule."""


MOST_NOISE = 5.0
"""Noise of more than this times the signal makes no difference any more: everything is held."""


class Settings(BaseModel):
    """Settings of a refinement.

    Energies are sums of (deviation / sigma)^2, maps have mean 0 and standard deviation 1 over the box,
    so that the weights below mean the same in every entry.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    protocol: str = Field("default", description="Name of the protocol.")
    cycles: int = Field(10, ge=1, le=100, description="Macro-cycles; the published service used 10.")
    iterations: int = Field(
        30, ge=1, description="Optimiser steps in a macro-cycle, worth 120 without preconditioner; targets are renewed between."
    )
    max_shift: float = Field(
        0.25, gt=0, description="Å; longest shift of an atom in one step, keeps bonds in reach of their targets."
    )
    target: Literal["combined", "least_squares", "overlap", "centres"] = Field(
        "combined",
        description="Data target at the end: least squares and density at the centres; one of them; or the overlap of maps.",
    )
    least_squares: float = Field(
        2.0,
        gt=0,
        description="Strength of least squares at the end, in that of the cycles' map term; more bends angles, see docs.",
    )
    centres_share: float = Field(
        0.5, ge=0, description="Share of the density at the centres that stays then; without it waters and Q-scores drift off."
    )
    finish_iterations: int = Field(
        20,
        ge=1,
        description="Optimiser steps at the end; more raise CC_mask by 0.001 and lower Q-scores by as much.",
    )
    revisions: int = Field(
        2,
        ge=0,
        description="So often at most side chains of a nearly exact model are searched once more in what it leaves unexplained.",
    )
    finish_adp_evaluations: int = Field(5, ge=0, description="Steps of the last B fit; atoms have moved by 0.2 Å at most.")
    bond_rmsd_target: float = Field(
        0.0065, gt=0, description="Å; the map weight is set so that bonds deviate this much, the value of good structures."
    )
    weight_method: Literal["trial", "segments"] = Field(
        "trial",
        description="One trial of the whole model, corrected later; or trials of ten random segments as in 2018.",
    )
    angle_rmsd_limit: float = Field(
        1.0, gt=0, description="°; segments must keep this as well as the bonds' target; published with 0.01 Å for all maps."
    )
    weight_trial: float = Field(10.0, gt=0, description="Map weight of the first trial minimisation.")
    weight_limits: tuple[float, float] = Field((2.0, 80.0), description="The map weight stays between these.")
    weight_cycles: int = Field(
        4, ge=0, description="So many cycles correct the map weight: a strained model misleads the first guess."
    )
    carboxylates_below: float = Field(
        3.5,
        ge=0,
        description="Å; in finer maps oxygens of Asp and Glu in negative density don't follow it: radiation takes 8 % of them.",
    )
    ramachandran: float = Field(
        1.0, ge=0, description="Weight of the Ramachandran potential as a fraction of the map weight, where the map is weak."
    )
    ramachandran_fine: float = Field(
        0.15,
        ge=0,
        description="The same at 2.5 Å or better, where the map decides: the full weight costs 0.005 of the Q-score at 2.3 Å.",
    )
    ramachandran_potential: Literal["typical", "contours"] = Field(
        "typical",
        description="By type and secondary structure, flat where φ and ψ are typical, so that a weak map doesn't make the "
        "backbone too perfect; or the contours alone, up to their summits.",
    )
    outlier_boost: float = Field(
        5.0, ge=1, description="Factor on the backbone and side-chain terms of residues that aren't favoured."
    )
    rotamer_restraints: Literal["natural", "present"] = Field(
        "natural",
        description="Side-chain torsions are held at the centre of their rotamer as widely as it varies in good structures, or "
        "where they are unless that is rare.",
    )
    rotamer_sigma: float = Field(3.0, gt=0, description="°; side-chain torsions around their present values, if that is chosen.")
    cbeta_sigma: float = Field(2.5, gt=0, description="°; the Cβ dihedrals.")
    hydrogen_bonds: float = Field(
        0.0, ge=0, description="Strength of the hydrogen bonds of helices and sheets from 3.3 Å on; 1 is σ 0.05 Å."
    )
    base_pairs: float = Field(
        1.0, ge=0, description="Strength of base pairs and stacks; 1 is the spread of hydrogen bonds by Saenger's class."
    )
    reference_sigma: float = Field(1.0, gt=0, description="°; torsions around those of a reference model, as in Headd 2012.")
    reference_limit: float = Field(
        15.0, gt=0, description="°; torsions that differ by more from those of the reference model are let go."
    )
    hold_start: bool = Field(False, description="Whether torsions are held as they are at the start; keeps what is wrong too.")
    nonbonded: float = Field(
        200.0, gt=0, description="Weight of contacts, 1/Å²; below it clashes stay (measured in the prototype)."
    )
    nonbonded_per_weight: float = Field(
        25.0, ge=0, description="Contacts keep pace with the map: at least this times the map weight."
    )
    nonbonded_slack: float = Field(
        0.2, ge=0, description="Å; contacts are pushed apart to this much overlap, half of what counts as a clash."
    )
    contacts: Literal["hydrogens", "united"] = Field(
        "hydrogens",
        description="Which atoms repel: all, or without hydrogens as in 2020, when contacts of hydrogens went unseen.",
    )
    list_margin: float = Field(0.9, gt=0, description="Å; the contact list is renewed when an atom has moved half of this.")
    side_chain_cycles: int = Field(
        4, ge=0, description="Cycles that begin with a search for the best rotamers; later ones let the model settle."
    )
    side_chains: Literal["all", "doubtful"] = Field(
        "all", description="Which are searched: good rotamers may be the wrong ones, so all; in 2020 outliers and poor fits."
    )
    backrub_cycles: int = Field(
        3, ge=0, description="Of these the ones that turn the backbone too where a side chain fits badly."
    )
    backrub_below: float = Field(
        0.7, ge=0, description="Fits badly: the side chain has less than this fraction of the density of its backbone."
    )
    backrub_penalty: float = Field(0.02, ge=0, description="Energy per square degree of the backbone's turn; 8 at 20°.")
    side_chain_contact_cap: float = Field(
        8.0, gt=0, description="Highest energy of one contact in the search, so that a clash which gives way doesn't decide."
    )
    side_chain_hydrogen_bond: float = Field(
        1.5, ge=0, description="Energy of a hydrogen bond in the search; decides which way Asn, Gln and His are turned."
    )
    side_chain_gain: float = Field(
        0.5, ge=0, description="By this much another rotamer must be better; less is within the noise of the search."
    )
    side_chain_cliques: bool = Field(
        True, description="Up to three side chains that compete for room are moved together; alone none of them can move."
    )
    side_chain_restless: float = Field(
        0.5, ge=0, description="Å; after the first search those near atoms that moved further are repeated: a third as many."
    )
    flip_cycles: tuple[int, ...] = Field(
        (2, 4), description="Cycles that try to turn peptides, when side chains are in place and before the model settles."
    )
    fragment_cycles: tuple[int, ...] = Field(
        (3, 5),
        description="Cycles that try to rebuild rare, cis or twisted backbone, after flips and minimisation had their turn.",
    )
    b_groups: Literal["resolution", "residues"] = Field(
        "resolution", description="Atoms or groups that have a B factor each: as fine as the resolution allows, or residues."
    )
    adp_evaluations: int = Field(10, ge=0, description="Steps of the B fit; more gain less than 0.0002 in CC.")
    adp_smoothness: float = Field(
        0.01, ge=0, description="Strength of the smoothness of B between neighbouring groups, by fits into half-maps, see docs."
    )
    occupancy_evaluations: int = Field(
        8,
        ge=0,
        description="Steps of the fit of occupancies; groups of conformers lie apart, so they converge together; 0: none.",
    )
    seeds: int = Field(
        3,
        ge=1,
        description="Runs, from shaken atoms after the first, where EMRinger fell by more than its scatter of 0.4; 1: no more.",
    )
    harmless: bool = Field(
        True, description="Keep only a state that does no harm, and strengthen what failed; else the last one, come what may."
    )
    noise_weighting: bool = Field(
        True, description="Damp noise by shells, and hold atoms by it, where half-maps tell how much there is."
    )
    noise_stiffness: float = Field(
        3.0,
        ge=0,
        description="Strength in that of the map, where noise is as strong as signal, that holds distances of neighbours as they "
        "were at the start; more keeps faults, less lets atoms follow noise, see docs.",
    )
    noise_hold: float = Field(0.5, ge=0, description="The same for their places: what moves together hardly fits noise.")
    noise_doubt: float = Field(
        3.0,
        ge=0,
        description="By so many standard deviations of noise another rotamer must be better: the best of 20 wrong ones has 2.",
    )
    start_stiffness: float = Field(
        0.0, ge=0, description="Strength in that of the map that holds distances as they were; half-maps set it."
    )
    side_chain_doubt: float = Field(
        0.0, ge=0, description="Deviation by noise of the density at a carbon atom, times the above, in σ; half-maps set it."
    )
    b_noise: float = Field(
        0.0,
        ge=0,
        description="Variance of the correlation by noise for each term; draws B to what packing says; half-maps set it.",
    )
    start_hold: float = Field(
        0.0, ge=0, description="Strength in that of the map that holds atoms where they were; half-maps set it."
    )
    cross_validation_shake: float = Field(
        0.3, ge=0, description="Å rms; moves atoms before they are refined into one half-map, so that they forget the other one."
    )
    place_below: float = Field(
        0.7, ge=-1, le=1, description="CC_mask; models that fit worse are moved as rigid bodies; a shift by 2 Å costs 0.2 to 0.8."
    )
    dock_below: float = Field(
        0.45,
        ge=-1,
        le=1,
        description="CC_mask; worse than this after rigid motions a search follows; wrong places reach 0.13 at 3 Å, 0.33 at 4.5.",
    )
    placement_gain: float = Field(
        0.02, ge=0, description="CC_mask must rise by more than this, or the model stays where it was; refinement does the rest."
    )
    anneal_near: float = Field(
        0.92, ge=0, le=1, description="Share of residues with their backbone in place; with fewer the last stage is made alone."
    )
    anneal_below: float = Field(
        0.75,
        ge=0,
        le=1,
        description="The same; with fewer all stages are made and repeated. Models shaken by 1.5 Å have about this.",
    )
    anneal_gain: float = Field(
        0.1, ge=0, description="Of what CC_mask lacks to 1 this part must be gained by that, or minimisation does as well."
    )
    anneal_stages: tuple[tuple[float, int, float, float], ...] = Field(
        (
            (2.5, 250, 4.0, 4.0),
            (1.9, 250, 4.0, 4.0),
            (1.4, 250, 4.0, 4.0),
            (1.0, 500, 4.0, 0.5),
        ),
        description="Annealing: resolution of the map relative to its own, steps of dynamics, temperatures at start and end; at "
        "12 backbones come apart.",
    )
    anneal_runs: int = Field(
        4, ge=1, description="Annealing is repeated from the start until two runs agree, this often at most."
    )
    ncs: Ncs = Field(
        "auto",
        description="Copies of one molecule: refined as one where the map has them as one, else alike in torsions.",
    )
    ncs_agreement: float = Field(
        0.97,
        ge=-1,
        le=1,
        description="Correlation of copies' density, all resolutions alike, above which they are one measurement: 0.99 where "
        "symmetry was imposed in the reconstruction, at most 0.95 where noise differs and ends the map at its resolution.",
    )
    ncs_resolution: float = Field(
        4.5, gt=0, description="Å; in worse maps copies look the same if they are, and the 0.75 of a symmetry search is enough."
    )
    ncs_sigma: float = Field(2.5, gt=0, description="°; torsions of copies that are held alike.")
    ncs_limit: float = Field(15.0, gt=0, description="°; torsions of copies that differ by more are left to differ.")
    cushion: float = Field(6.0, gt=0, description="Å; the map is cut around the model with this margin.")

    def against(self, noise: float, deviation: float, of_fit: float) -> Settings:
        """Return the settings for a noisy map.

        Parameters
        ----------
        noise : float
            Its power relative to that of signal.
        deviation : float
            By how much noise makes the density of one carbon atom in two places differ, in standard deviations of the map.
        of_fit : float
            Variance by noise of the correlation with the model, times the number of terms.
        """
        noise = min(noise, MOST_NOISE)
        if not self.noise_weighting or noise <= 0.0:
            return self
        held = {"start_hold": self.noise_hold * noise, "start_stiffness": self.noise_stiffness * noise}
        return self.model_copy(update={**held, "side_chain_doubt": self.noise_doubt * deviation, "b_noise": of_fit})

    def digest(self) -> str:
        """Return a hash of all settings."""
        text = json.dumps(self.model_dump(mode="json"), sort_keys=True)
        return hashlib.sha256(text.encode()).hexdigest()[:16]


PROTOCOLS: dict[str, Settings] = {
    "default": Settings(),
    "ceres2020": Settings(
        protocol="ceres2020",
        weight_method="segments",
        weight_cycles=0,
        carboxylates_below=0.0,
        cycles=10,
        iterations=100,
        bond_rmsd_target=0.01,
        ramachandran_fine=1.0,
        ramachandran_potential="contours",
        outlier_boost=1.0,
        rotamer_restraints="present",
        rotamer_sigma=5.0,
        hydrogen_bonds=1.0,
        target="centres",
        contacts="united",
        side_chain_cycles=10,
        side_chains="doubtful",
        side_chain_cliques=False,
        backrub_cycles=0,
        flip_cycles=(),
        fragment_cycles=(),
        b_groups="residues",
        occupancy_evaluations=0,
        seeds=1,
        harmless=False,
        noise_weighting=False,
        place_below=-1.0,
        dock_below=-1.0,
        anneal_near=0.0,
    ),
    "quick": Settings(protocol="quick", cycles=4, adp_evaluations=6, seeds=1),
}
"""Protocols by name."""


def settings_for(protocol: str, *, ncs: str | None = None) -> Settings:
    """Return the settings of a protocol.

    Parameters
    ----------
    protocol : str
        Its name.
    ncs : str, optional
        What is done with copies, where not what the protocol says.

    Raises
    ------
    InputError
        If there is no protocol, or no way to treat copies, of this name.
    """
    if protocol not in PROTOCOLS:
        names = ", ".join(sorted(PROTOCOLS))
        raise InputError("protocol_unknown", f"There is no protocol {protocol!r}.", f"Use one of: {names}.")
    if ncs is None:
        return PROTOCOLS[protocol]
    if ncs not in get_args(Ncs):
        raise InputError("ncs_unknown", f"Copies can't be treated as {ncs!r}.", f"Use one of: {', '.join(get_args(Ncs))}.")
    return PROTOCOLS[protocol].model_copy(update={"ncs": ncs})
