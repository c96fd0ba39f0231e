"""Results as of machines with a DRAM, made of those without: for tests of what is done with them, not of the engine."""

from dataclasses import replace

import numpy as np

from crispsim.bench.run_folder import RunRecord, write_run
from crispsim.sim import Machine, Results, load_arch
from crispsim.sim.energy import Energy, EnergyModel, load_table
from crispsim.sim.engine_state import CAUSES
from crispsim.sim.result import LayerEnergy

# Of each group: what moved, and how long each core waited for it.
MOVED = {
    "dram_read_bytes": 1100, "dram_write_bytes": 500, "dram_weight_bytes": 700, "dram_input_bytes": 300,
    "dram_residual_bytes": 100, "writeback_bytes": 400, "dram_bound_cycles": 95, "blocking": "weights",
}  # fmt: skip
WAITED = 2


def behind_dram(results, archs=None, preset="edge-lpddr4"):
    """The results of some architectures (all by default) on a preset with a DRAM that moved `MOVED`."""
    archs = results.archs if archs is None else archs
    machine = Machine.load(preset)
    models = {}
    for arch, model in results.energy_models.items():
        models[arch] = model
        if arch in archs:
            models[arch] = EnergyModel.of(machine, model.architecture, model.table)
    rows = []
    for row in results.rows:
        if row.arch in archs:
            group = _moved(row.group)
            energy = row.energy
            if energy:
                energy = LayerEnergy(own=models[row.arch].energy(group), baseline=_dense(energy), sram_origin="table")
            row = replace(row, machine=machine, group=group, energy=energy)
        rows.append(row)
    return Results(rows=tuple(rows), energy_models=models, ideal=results)


def write(folder, results, energy="horowitz45"):
    """Write them as a run's folder."""
    specs = [load_arch(arch, machine) for arch, machine in results.machines.items()]
    record = RunRecord(
        command=f"crispsim run --out {folder}", versions={"crispsim": "0.1.0"}, seed=0, options={"nm": "2:4"},
        inputs=(), specs=tuple(specs), energy=None if energy is None else load_table(energy),
    )  # fmt: skip
    write_run(folder, results, record)
    return folder


def _moved(group):
    spent = np.array(group.core_cycles)
    waited = spent[:, CAUSES.index("stall_dram")]
    for core in range(len(spent)):
        most = int(np.argmax(spent[core]))
        spent[core, most] -= WAITED
        waited[core] += WAITED
    read, written = MOVED["writeback_bytes"], MOVED["dram_weight_bytes"] + MOVED["dram_input_bytes"]
    return replace(
        group, core_cycles=spent, smem_read_bytes=group.smem_read_bytes + read,
        smem_write_bytes=group.smem_write_bytes + written, **MOVED,
    )  # fmt: skip


def _dense(energy):
    return Energy.sum([(energy.baseline, 2)])
