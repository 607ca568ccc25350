"""How much of a map is signal, and when its noise is damped."""

from __future__ import annotations

from dataclasses import replace

import gemmi
import numpy as np
import pytest

from refinement.maps.density import Density
from refinement.maps.fourier import low_pass, squared_frequencies
from refinement.maps.half_maps import (
    SHELLS,
    Signal,
    damped,
    noise_of_difference,
    noise_weighted,
    sharpened_like,
    signal_confirmed,
    signal_in_mean,
)
from refinement.maps.scattering import model_map
from refinement.maps.soft_mask import soft_mask
from refinement.structure import Structure, from_gemmi

D_MIN = 3.0


@pytest.fixture(scope="module")
def structure() -> Structure:
    """Two hundred carbons with the spacing of a protein."""
    rng = np.random.default_rng(3)
    lattice = np.stack(np.meshgrid(*[np.arange(6)] * 3, indexing="ij"), axis=-1).reshape(-1, 3)[:200] * 2.6
    source = gemmi.Structure()
    source.add_model(gemmi.Model(1))
    chain = source[0].add_chain(gemmi.Chain("A"))
    for number, position in enumerate((lattice + 12.0 + rng.normal(scale=0.4, size=lattice.shape)).tolist(), start=1):
        residue = gemmi.Residue()
        residue.name, residue.seqid = "ALA", gemmi.SeqId(number, " ")
        atom = gemmi.Atom()
        atom.name, atom.element, atom.b_iso, atom.pos = "CA", gemmi.Element("C"), 40.0, gemmi.Position(*position)
        residue.add_atom(atom)
        chain.add_residue(residue)
    return from_gemmi(source)


@pytest.fixture(scope="module")
def clean(structure: Structure) -> Density:
    empty = Density(np.zeros((38, 40, 42), dtype=np.float32), gemmi.UnitCell(38, 40, 42, 90, 90, 90), np.zeros(3))
    return replace(empty, values=model_map(structure, empty, D_MIN))


def halves_of(clean: Density, noise: float, *, seed: int = 5) -> tuple[Density, Density]:
    """Return the map with white noise of `noise` times its standard deviation, twice."""
    rng = np.random.default_rng(seed)
    first, second = (
        replace(clean, values=(clean.values + noise * clean.values.std() * rng.normal(size=clean.dims)).astype(np.float32))
        for _ in range(2)
    )
    return first, second


def mean_of(halves: tuple[Density, Density]) -> Density:
    return replace(halves[0], values=(0.5 * (halves[0].values + halves[1].values)).astype(np.float32))


def true_part(clean: Density, noise: float, structure: Structure) -> np.ndarray:
    """Return the part of signal in a half by shells, from signal and noise known apart, term by term."""
    mask = soft_mask(structure, clean, 3.0)
    signal = np.abs(np.fft.rfftn((clean.values - clean.values.mean()) * mask)) ** 2
    per_term = (noise * clean.values.std()) ** 2 * float((mask.astype(np.float64) ** 2).sum())
    s = np.sqrt(squared_frequencies(clean.dims, clean.cell)) * D_MIN
    part = []
    for shell in range(SHELLS):
        inside = (s >= shell / SHELLS) & (s < (shell + 1) / SHELLS)
        power = float(signal[inside].mean()) if inside.any() else 0.0
        part.append(power / (power + per_term))
    return np.array(part)


@pytest.mark.parametrize("noise", [0.3, 1.0, 2.0])
def test_signal_is_what_was_put_into_the_noise(structure: Structure, clean: Density, noise: float) -> None:
    halves, truth = halves_of(clean, noise), true_part(clean, noise, structure)
    populated = slice(8, SHELLS)  # inner shells have a few terms
    both = signal_in_mean(halves, structure, D_MIN)
    assert np.abs(both.part - 2.0 * truth / (1.0 + truth))[populated].mean() < 0.06
    assert 0.0 <= both.part.min() <= both.part.max() <= 1.0
    by_clean = signal_confirmed(halves[0], clean, structure, D_MIN)
    assert np.abs(by_clean.part - truth)[populated].mean() < 0.05
    by_mean = signal_confirmed(halves[0], mean_of(halves), structure, D_MIN)
    assert np.abs(by_mean.part - truth)[populated].mean() < 0.06
    by_cut = signal_confirmed(halves[0], low_pass(mean_of(halves), D_MIN), structure, D_MIN)
    assert np.abs(by_cut.part - 0.5 * (1.0 + truth))[populated].mean() < 0.06
    assert by_clean.mean < both.mean


def test_noise_is_what_is_not_signal() -> None:
    assert Signal(np.full(SHELLS, 0.5), 0.5).noise == pytest.approx(1.0)
    assert Signal(np.ones(SHELLS), 1.0).noise == 0.0
    assert Signal(np.zeros(SHELLS), 0.0).noise == pytest.approx(50.0)


def test_shells_are_multiplied_by_the_root_of_their_signal(clean: Density) -> None:
    part = np.linspace(1.0, 0.0, SHELLS)
    weighted = np.fft.rfftn(damped(clean, Signal(part, 0.5), D_MIN).values)
    given = np.fft.rfftn(clean.values)
    s = np.sqrt(squared_frequencies(clean.dims, clean.cell)) * D_MIN
    strong = np.abs(given) > 1e-3 * np.abs(given).max()
    strong[0, 0, 0] = False
    for index in np.argwhere(strong)[::50]:
        h = tuple(index)
        shell = int(s[h] * SHELLS)
        expected = given[h] * (np.sqrt(part[shell]) if shell < SHELLS else 0.0)
        assert weighted[h] == pytest.approx(expected, abs=2e-4 * float(np.abs(given).max()))


def test_weighting_brings_a_noisy_map_nearer_to_the_truth(structure: Structure, clean: Density) -> None:
    halves = halves_of(clean, 3.0)
    primary = mean_of(halves)
    weighted = noise_weighted(primary, halves, structure, D_MIN)
    assert weighted.applied
    assert "weighted by shells" in weighted.reason
    assert weighted.noise > 0.1
    raw, better = (np.corrcoef(each.values.ravel(), clean.values.ravel())[0, 1] for each in (primary, weighted.density))
    cut = np.corrcoef(low_pass(primary, D_MIN).values.ravel(), clean.values.ravel())[0, 1]
    assert better > max(raw, cut) + 0.01


@pytest.mark.parametrize(
    ("what", "words", "known"),
    [
        ("no halves", "no half-maps", False),
        ("little noise", "nothing to weigh", True),
        ("nothing in common", "share no signal", False),
        ("another molecule", "don't agree with the primary map", False),
        ("clean primary", "less noise than its half-maps", False),
        ("weighted primary", "weighted by shells when it was made", True),
    ],
)
def test_maps_that_weighting_would_not_help_stay_as_they_are(
    structure: Structure, clean: Density, what: str, words: str, known: bool
) -> None:
    halves: tuple[Density, ...] = halves_of(clean, 1.5)
    primary = mean_of((halves[0], halves[1]))
    if what == "no halves":
        halves = ()
    elif what == "little noise":
        halves = halves_of(clean, 0.02)
    elif what == "nothing in common":
        rng = np.random.default_rng(8)
        halves = tuple(replace(clean, values=rng.normal(size=clean.dims).astype(np.float32)) for _ in range(2))
    elif what == "another molecule":
        primary = replace(primary, values=np.roll(primary.values, (7, 5, 3), axis=(0, 1, 2)))
    elif what == "clean primary":
        primary = clean
    elif what == "weighted primary":
        signal = signal_in_mean(halves, structure, D_MIN)
        primary = low_pass(damped(primary, signal, D_MIN), D_MIN, b=-40.0)
    found = noise_weighted(primary, halves, structure, D_MIN)
    assert not found.applied
    assert words in found.reason
    assert found.density is primary
    assert (found.noise > 0.0) is known
    assert found.record == {"noise_weighted": False, "reason": found.reason, "signal": found.record["signal"]}


def test_a_half_is_sharpened_as_the_primary_map_is(structure: Structure, clean: Density) -> None:
    halves = halves_of(clean, 0.5)
    primary = low_pass(mean_of(halves), D_MIN, b=-60.0)
    signal = signal_confirmed(halves[0], primary, structure, D_MIN)
    found = sharpened_like(halves[0], primary, signal, structure, D_MIN)
    expected = low_pass(halves[0], D_MIN, b=-60.0)
    assert np.corrcoef(found.values.ravel(), expected.values.ravel())[0, 1] > 0.995
    unsharpened = low_pass(halves[0], D_MIN)
    assert np.corrcoef(unsharpened.values.ravel(), expected.values.ravel())[0, 1] < 0.98


def test_noise_of_a_difference_is_that_of_side_chains_in_two_places(structure: Structure, clean: Density) -> None:
    halves = halves_of(clean, 0.8, seed=9)
    signal = Signal(true_part(clean, 0.8, structure), 0.5)
    map_ = damped(halves[0], signal, D_MIN)
    predicted = noise_of_difference(map_, signal, structure, D_MIN)
    pure = damped(replace(clean, values=halves[0].values - clean.values), signal, D_MIN).values
    rng = np.random.default_rng(2)
    chain = np.array([[0.0, 0.0, 0.0], [1.25, 0.88, 0.0], [2.5, 0.0, 0.0], [3.75, 0.88, 0.0]])  # in steps of 1 Å
    sums = []
    for _ in range(400):
        start = rng.uniform(12.0, 24.0, size=3)
        turn = np.linalg.qr(rng.normal(size=(3, 3)))[0]
        at = np.rint(start + chain @ turn.T).astype(int)
        sums.append(float(pure[tuple(at.T)].sum()))
    assert predicted == pytest.approx(np.sqrt(2.0) * np.std(sums) / np.sqrt(len(chain)), rel=0.25)
    assert noise_of_difference(map_, Signal(np.ones(SHELLS), 1.0), structure, D_MIN) == 0.0


def test_noise_in_the_correlation_is_what_terms_say() -> None:
    assert Signal(np.ones(SHELLS), 1.0).noise_in_correlation == 0.0
    assert Signal(np.full(SHELLS, 0.25), 0.25).noise_in_correlation == pytest.approx(0.75)
