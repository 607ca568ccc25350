"""Time of the geometry gradient of cctbx/mmtbx; called by target.py with a Python that has them.

    toolbox_gradient.py MODEL REPEAT

Prints one JSON object: atoms, restraints by kind, and the shortest time of the processor in seconds.
"""

from __future__ import annotations

import json
import sys
import time

import iotbx.pdb
import mmtbx.model
from libtbx.utils import null_out

model_path, repeat = sys.argv[1], int(sys.argv[2])
model = mmtbx.model.manager(iotbx.pdb.input(model_path), log=null_out())
model.add_crystal_symmetry_if_necessary()
params = model.get_default_pdb_interpretation_params()
params.pdb_interpretation.clash_guard.nonbonded_distance_threshold = None
params.pdb_interpretation.proceed_with_excessive_length_bonds = True
params.pdb_interpretation.disable_uc_volume_vs_n_atoms_check = True
params.pdb_interpretation.ramachandran_plot_restraints.enabled = "--ramachandran" in sys.argv
model.process(pdb_interpretation_params=params, make_restraints=True)
geometry, sites = model.get_restraints_manager().geometry, model.get_sites_cart()
found = geometry.energies_sites(sites_cart=sites, compute_gradients=True)
times = []
for _ in range(repeat):
    begin = time.process_time()
    geometry.energies_sites(sites_cart=sites, compute_gradients=True)
    times.append(time.process_time() - begin)
kinds = ("bond", "angle", "dihedral", "chirality", "planarity", "nonbonded")
restraints = {kind: getattr(found, f"n_{kind}_proxies") for kind in kinds}
print(
    json.dumps({"atoms": sites.size(), "hydrogens": model.get_hd_selection().count(True), "processor": min(times), **restraints})
)
