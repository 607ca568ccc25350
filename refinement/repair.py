"""Local repair: residues that a state has spoilt get back the conformation that they had at the start.

One residue in thousands that came out worse than it went in is no reason to give up all others. So before a state
that fits best is refused for a peptide that became twisted, or an outlier that wasn't there, the residues concerned
are put back and held by their torsions while the whole model is minimised once more.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from refinement.choice import best_first
from refinement.operators import kabsch
from refinement.restraints.named_torsions import held, named_torsions
from refinement.score import COUNTED, harm
from refinement.states import make_state, make_target
from refinement.symmetry.target import minimise_model
from refinement.validation.cbeta import OUTLIER as CBETA_OUTLIER
from refinement.validation.cbeta import cbeta_deviations
from refinement.validation.clashscore import ContactModel, clashscore
from refinement.validation.geometry import chirality_outliers, planarity_outliers
from refinement.validation.omega import omega
from refinement.validation.ramachandran import Region, ramachandran
from refinement.validation.rotamers import rotamers

if TYPE_CHECKING:
    from collections.abc import Sequence

    import gemmi
    from numpy.typing import NDArray

    from refinement.output import RunLog
    from refinement.restraints.dihedrals import DihedralRestraints
    from refinement.restraints.topology import Topology
    from refinement.states import Problem, State, Strengths
    from refinement.structure import Structure

    Mask = NDArray[np.bool_]

ROUNDS = 3
"""Each takes one residue more to either side."""
SIGMA = 1.0
"""Degrees; as firm as restraints on the torsions of a reference model."""
LOCAL = frozenset(COUNTED)
"""Harms that belong to single residues; the others are those of the model as a whole."""


@dataclass(frozen=True, slots=True)
class Repair:
    """A repaired state, and the residues that were put back (rows)."""

    state: State
    residues: list[int]


def with_best_repaired(
    states: list[State], start: State, initial: State, problem: Problem, weight: float, strengths: Strengths, log: RunLog
) -> list[State]:
    """Return the states of a run, the one that fits best in a repaired version where it did harm that can be repaired.

    Parameters
    ----------
    states : list of State
        After each cycle.
    start, initial : State
        Where the cycles began (the same atoms), and the state that harm is measured against.
    problem : Problem
        The map, the restraints and the settings.
    weight : float
        Map weight.
    strengths : Strengths
        Factors on the restraints.
    log : RunLog
        What was put back goes there.
    """
    best = best_first(states)[0]
    harms = harm(initial.geometry, best.geometry)
    if not harms or not LOCAL.issuperset(harms):
        return states
    found = repaired(best, start, initial, problem, weight, strengths)
    left = harm(initial.geometry, found.state.geometry)
    names = [found.state.structure.residues.label(row) for row in found.residues]
    outcome = "" if not left else ", in vain"
    log.add(
        "repaired",
        f"{best.label}: {len(names)} residues got the conformation back that they had at the start{outcome}.",
        residues=names,
        harms_before=harms,
        harms_after=left,
    )
    return states if left else [found.state if state is best else state for state in states]


def repaired(state: State, start: State, initial: State, problem: Problem, weight: float, strengths: Strengths) -> Repair:
    """Put back what `state` has spoilt and minimise; parameters are those of `with_best_repaired`."""
    put_back = np.zeros(len(state.structure.residues), dtype=np.bool_)
    current = state
    for _ in range(ROUNDS):
        harms = harm(initial.geometry, current.geometry)
        spoilt = spoilt_residues(start, current, harms, problem.topology, problem.library)
        if not harms or not (spoilt | put_back).any():
            break
        put_back = widened(current.structure, spoilt | put_back)
        model = state.model.moved(problem.imposed(restored(state.structure, start.structure, put_back)))
        held_there = firm(start.structure, put_back, problem.reference)
        target = make_target(model, replace(problem, reference=held_there), weight, strengths)
        found = minimise_model(
            target,
            model.structure.positions,
            problem.symmetry,
            max_iterations=problem.settings.iterations,
            max_shift=problem.settings.max_shift,
        )
        target.close()
        current = make_state(state.label, model.structure.moved(found.x), problem, like=model)
    return Repair(current, np.flatnonzero(put_back).tolist())


def spoilt_residues(
    before: State, after: State, harms: Sequence[str], topology: Topology, library: gemmi.MonLib
) -> NDArray[np.bool_]:
    """Return which residues have more of the named outliers in one state than they had in another.

    Parameters
    ----------
    before, after : State
        Two states of the same atoms.
    harms : sequence of str
        Names of what counts, as `refinement.score.harm` returns them.
    topology : Topology
        Their restraints.
    library : gemmi.MonLib
        Dictionaries of their compounds.
    """
    worse = np.zeros(len(after.structure.residues), dtype=np.bool_)
    for name in LOCAL.intersection(harms):
        worse |= _outliers(name, after, topology, library) > _outliers(name, before, topology, library)
    return worse


def widened(structure: Structure, residues: Mask) -> Mask:
    """Return the residues of a mask and the ones before and after each in its chain."""
    chain, polymer, wider = structure.residues.chain_index, structure.residues.polymer, residues.copy()
    joined = (chain[1:] == chain[:-1]) & polymer[1:] & polymer[:-1]
    wider[:-1] |= residues[1:] & joined
    wider[1:] |= residues[:-1] & joined
    return wider


def restored(structure: Structure, start: Structure, residues: Mask) -> NDArray[np.float64]:
    """Return positions (n, 3) of a model with the conformation of some residues as in `start`, fitted to where they are now."""
    positions = structure.positions.copy()
    edges = np.flatnonzero(np.diff(np.concatenate([[False], residues, [False]]).astype(np.int8)))
    chain = structure.residues.chain_index
    for begin, end in edges.reshape(-1, 2).tolist():
        for run in np.split(np.arange(begin, end), np.flatnonzero(np.diff(chain[begin:end])) + 1):
            mine = np.isin(structure.residue, run)
            around = np.isin(structure.residue, _with_ends(structure, run))
            rotation, shift = kabsch(start.positions[around], structure.positions[around])
            positions[mine] = start.positions[mine] @ rotation.T + shift
    return positions


def _with_ends(structure: Structure, run: NDArray[np.int64]) -> NDArray[np.int64]:
    """Return the rows of a stretch of residues and of the residue at either end."""
    mask = np.zeros(len(structure.residues), dtype=np.bool_)
    mask[run] = True
    return np.flatnonzero(widened(structure, mask))


def firm(start: Structure, residues: Mask, reference: DihedralRestraints | None, *, sigma: float = SIGMA) -> DihedralRestraints:
    """Return restraints on the torsions of some residues as `start` has them, and those of a reference model elsewhere."""
    torsions = named_torsions(start)
    torsions = torsions.select(residues[torsions.residue])
    own = held(torsions, torsions.angles(start), sigma=sigma, limit=np.inf)
    return own if reference is None else reference.select(~residues[reference.residue]).joined(own)


def _outliers(name: str, state: State, topology: Topology, library: gemmi.MonLib) -> NDArray[np.float64]:
    """Return how many outliers of one kind each residue has (the overlap of its worst clash)."""
    structure = state.structure
    count = len(structure.residues)
    if name == "rama_outliers":
        return (ramachandran(structure).region == Region.OUTLIER).astype(float)
    if name == "rotamer_outliers":
        side_chains = rotamers(structure)
        rows = side_chains.residue[side_chains.region == Region.OUTLIER]
    elif name == "cbeta_deviations":
        cbeta = cbeta_deviations(structure)
        rows = cbeta.residue[cbeta.deviation >= CBETA_OUTLIER]
    elif name in {"cis_nonproline", "twisted_peptides"}:
        peptides = omega(structure)
        rows = peptides.residue[peptides.twisted if name == "twisted_peptides" else peptides.cis & ~peptides.proline]
    elif name == "chirality_outliers":
        centres = topology.chiralities.atoms[chirality_outliers(structure, topology.chiralities), 0]
        rows = structure.residue[centres]
    elif name == "planarity_outliers":
        planes, flat = topology.planes, planarity_outliers(structure, topology.planes)
        rows = structure.residue[planes.atoms[planes.first[:-1][flat]]]
    else:
        built = state.model.hydrogenated
        model = ContactModel(built.structure, built.bonding.neighbours, built.types, hydrogens_added=True)
        overlap: NDArray[np.float64] = np.nan_to_num(
            clashscore(structure, library, model=model).columns["worst_overlap"].astype(float)
        )
        return overlap
    return np.bincount(rows, minlength=count).astype(float)
