"""What the SMEM's capacity, the DRAM's bandwidth and `--fuse` change: the tables of docs/memory.md.

ResNet-50 on dense and crisp-stc for every capacity and bandwidth, and three networks on four architectures with and
without fusion; 2:4 in blocks of 64, 90% asked. Run it as

    python -m crispsim.bench.validation.memory_study --out docs --page docs/memory.md
"""

from __future__ import annotations

from collections import Counter
from itertools import product
from pathlib import Path

import click
import pandas as pd

from ...sim import ARCHITECTURES, InputError, Layer, Machine, load_arch, read_layers, shipped_layers, simulate
from ...sim.energy import DEFAULT_TABLE, EnergyModel
from .page import publish, table
from .paper_claims import resnet50

PRESET = "edge-lpddr4"
CAPACITIES = (64, 128, 256, 512, 1024)  # KiB
BANDWIDTHS = (8, 17, 25, 32, 64)  # B/cycle
BLOCKED = ("dense", "crisp-stc")
NETWORKS = ("resnet50", "vgg16", "mobilenetv2")
BLOCKINGS = (
    "inputs", "weights", "inputs-single", "weights-single", "weights-streamed", "inputs-streamed", "streamed",
)  # fmt: skip
FILES = {"capacity": "memory-capacity.csv", "fuse": "memory-fuse.csv"}

Cells = dict[tuple[object, ...], dict]


def machine_of(capacity_kib: int, bytes_per_cycle: int) -> Machine:
    """The preset with another SMEM and another bandwidth."""
    return Machine.load(
        PRESET, {"smem.capacity_bytes": capacity_kib << 10, "dram.bytes_per_cycle": bytes_per_cycle}
    )  # fmt: skip


def capacity_study(capacity_kib: int, bytes_per_cycle: int) -> pd.DataFrame:
    """ResNet-50 on one machine; energies only where the table of memories has the SMEM itself."""
    machine = machine_of(capacity_kib, bytes_per_cycle)
    energy = DEFAULT_TABLE if _in_table(machine) else None
    results = simulate(resnet50(), [load_arch(name, machine) for name in BLOCKED], energy=energy)
    rows = []
    for arch in BLOCKED:
        total, blockings = results.total(arch), Counter(row.group.blocking for row in results.of(arch))
        rows.append(
            {
                "arch": arch,
                "smem_kib": capacity_kib,
                "dram_bytes_per_cycle": bytes_per_cycle,
                "cycles": total.cycles,
                "speedup": round(total.speedup, 4),
                "dram_read_bytes": total.dram_read_bytes,
                "dram_write_bytes": total.dram_write_bytes,
                "dram_bound_cycles": total.dram_bound_cycles,
                "energy_uj": round(total.energy.energy_uj, 3) if total.energy else "",
                "dram_uj": round(total.energy.dram_uj, 3) if total.energy else "",
                **{name: blockings[name] for name in BLOCKINGS},
            }
        )
    return pd.DataFrame(rows)


def fuse_study(network: str, fuse: bool) -> pd.DataFrame:
    """A network on every architecture, with or without fusion."""
    layers = layers_of(network)
    results = simulate(layers, machine=PRESET, fuse=fuse)
    rows = []
    for arch in results.archs:
        total = results.total(arch)
        assert total.energy
        written = [row.group.dram_write_bytes for row in results.of(arch)]
        rows.append(
            {
                "network": network,
                "arch": arch,
                "fuse": "yes" if fuse else "no",
                "layers": len(layers),
                "layers_kept": sum(count == 0 for count in written),
                "cycles": total.cycles,
                "speedup": round(total.speedup, 4),
                "dram_read_bytes": total.dram_read_bytes,
                "dram_write_bytes": total.dram_write_bytes,
                "energy_uj": round(total.energy.energy_uj, 3),
                "dram_uj": round(total.energy.dram_uj, 3),
            }
        )
    return pd.DataFrame(rows)


def layers_of(network: str) -> list[Layer]:
    """A shipped network."""
    return read_layers(shipped_layers()[network])


def _in_table(machine: Machine) -> bool:
    """Whether the SMEM's figures stand in the table of CACTI's results as they are."""
    try:
        return all(
            EnergyModel.of(machine, ARCHITECTURES[name], DEFAULT_TABLE).origin == "table" for name in BLOCKED
        )  # fmt: skip
    except InputError:
        return False


def markdown(capacity: pd.DataFrame, fuse: pd.DataFrame) -> dict[str, str]:
    """The tables of the page, by the names of their sections."""
    cells: Cells = {
        tuple(row[name] for name in ("arch", "smem_kib", "dram_bytes_per_cycle")): row
        for row in capacity.to_dict(orient="records")
    }
    return {
        "memory-capacity": _capacity(cells),
        "memory-speedup": _speedup(cells),
        "memory-blockings": _blockings(cells),
        "memory-fuse": _fuse(fuse),
    }


def _capacity(cells: Cells) -> str:
    head = ["architecture", "SMEM, KiB", "DRAM read, MB", "written, MB", "energy, mJ"]
    head += [f"cycles, {bandwidth} B/cycle" for bandwidth in BANDWIDTHS]
    rows = []
    for arch, capacity in product(reversed(BLOCKED), CAPACITIES):
        one = cells[arch, capacity, 17]
        energy = "" if pd.isna(one["energy_uj"]) or one["energy_uj"] == "" else f"{float(one['energy_uj']) / 1000:.3f}"
        row: list[object] = [arch, capacity, _mb(one["dram_read_bytes"]), _mb(one["dram_write_bytes"]), energy]
        rows.append([*row, *(f"{cells[arch, capacity, bandwidth]['cycles']:,}" for bandwidth in BANDWIDTHS)])
    return table(head, rows)


def _speedup(cells: Cells) -> str:
    head = ["SMEM, KiB", *(f"{bandwidth} B/cycle" for bandwidth in BANDWIDTHS)]
    rows = (
        [capacity, *(f"{cells['crisp-stc', capacity, bandwidth]['speedup']:.2f}" for bandwidth in BANDWIDTHS)]
        for capacity in CAPACITIES
    )
    return table(head, rows, left=0)


def _blockings(cells: Cells) -> str:
    head = ["architecture", "SMEM, KiB", *(f"`{name}`" for name in BLOCKINGS)]
    rows = (
        [arch, capacity, *(cells[arch, capacity, 17][name] for name in BLOCKINGS)]
        for arch, capacity in product(reversed(BLOCKED), CAPACITIES)
    )
    return table(head, rows)


def _fuse(frame: pd.DataFrame) -> str:
    head = ["network", "architecture", "stay", "cycles", "fused", "change", "DRAM, MB", "fused", "change"]
    head += ["energy, uJ", "fused", "change"]
    cells = {tuple(row[name] for name in ("network", "arch", "fuse")): row for row in frame.to_dict(orient="records")}
    rows = []
    for network, arch in dict.fromkeys(zip(frame["network"], frame["arch"], strict=True)):
        one, fused = (cells[network, arch, fuse] for fuse in ("no", "yes"))
        row: list[object] = [network, arch, f"{fused['layers_kept']} of {fused['layers']}"]
        row += [f"{one['cycles']:,}", f"{fused['cycles']:,}", _change(one["cycles"], fused["cycles"])]
        moved = [of["dram_read_bytes"] + of["dram_write_bytes"] for of in (one, fused)]
        row += [*map(_mb, moved), _change(*moved)]
        energy = [of["energy_uj"] for of in (one, fused)]
        rows.append([*row, *(f"{value:,.1f}" for value in energy), _change(*energy)])
    return table(head, rows, left=2)


def _mb(count: int) -> str:
    return f"{count / 1e6:.2f}"


def _change(before: float, after: float) -> str:
    return f"{100 * (after / before - 1):+.1f}%"


@click.command()
@click.option("--out", type=click.Path(path_type=Path, exists=True, file_okay=False), required=True, help="For CSVs.")
@click.option("--page", type=click.Path(path_type=Path, exists=True), help="Page whose tables are to be replaced.")
@click.option("--from-csv", is_flag=True, help="Simulate nothing: the page's tables from the CSVs as they are.")
def main(out: Path, page: Path | None, from_csv: bool) -> None:
    """Vary capacity, bandwidth and fusion."""
    paths = {name: out / file for name, file in FILES.items()}
    if from_csv:
        frames = {name: pd.read_csv(path) for name, path in paths.items()}
    else:
        frames = {
            "capacity": pd.concat([capacity_study(*one) for one in product(CAPACITIES, BANDWIDTHS)], ignore_index=True),
            "fuse": pd.concat([fuse_study(*one) for one in product(NETWORKS, (False, True))], ignore_index=True),
        }
        for name, frame in frames.items():
            frame.to_csv(paths[name], index=False, lineterminator="\n")
    publish(markdown(frames["capacity"], frames["fuse"]), page)


if __name__ == "__main__":
    main()
