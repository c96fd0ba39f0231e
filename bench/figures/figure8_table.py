"""Layers as the paper's figure 8 shows them: patterns and blocks on every architecture, in one table for two figures.

`speedup` and `energy` draw the same table: one row for each pattern, block, layer and architecture, and the network as
a last layer. The paper does not name the layers of its figure; ours are one of each kind a stage has.
"""

from __future__ import annotations

import difflib
from collections import Counter
from collections.abc import Iterator, Sequence
from itertools import product
from typing import TYPE_CHECKING, Any

from ...sim import ArchSpec, InputError, Layer, read_layers, shipped_layers, simulate
from ...sim.archs import BASELINE
from ...sim.result import parts_of
from ...sim.tasks import Progress
from ..vocabulary import parts_in
from .drawing import NETWORK
from .records import Record, records_of, sums_of, values_of

if TYPE_CHECKING:
    import pandas as pd

PATTERNS = ("1:4", "2:4", "3:4")
BLOCKS = (16, 32, 64)
ARCHS = (BASELINE, "stc", "dstc", "crisp-stc")
BLOCKED = "crisp-stc"  # shown with every block; the others beside the largest
RESNET50 = "resnet50"
RESNET50_LAYERS = (
    "layer1.0.conv3", "layer1.0.conv2", "layer2.1.conv3", "layer2.1.conv2", "layer3.1.conv1", "layer3.1.conv2",
    "layer4.1.conv1", "layer4.1.conv2",
)  # fmt: skip
EARLY = ("layer1.", "layer2.")
MOST_LAYERS, MOST_SHOWN = 8, 12  # chosen by default; that can be asked for
# The paper's words, section IV-B: ResNet-50, 80% to 90% pruned.
CLAIMED_SPARSITY = (0.8, 0.9)
CLAIMED_SPEEDUP = {"1:4": (7, 14), "2:4": (5, 12), "3:4": (2, 8)}  # crisp-stc
CLAIMED_STC = 2  # at most, speedup and energy
CLAIMED_DSTC = (3, 8)  # speedup of early layers
CLAIMED_ENERGY = 30  # at most, crisp-stc

# What every table of energies has; of a machine with a DRAM also dram_uj.
ENERGIES = ("energy_uj", *(f"{part}_uj" for part in parts_of(with_dram=False)))
TEXT = ("network", "nm", "layer", "sizes", "arch")
NUMBERS = ("requested_sparsity", "block", "weight_sparsity", "macs_dense", "cycles", "speedup")


def collect(
    sparsity: float = 0.9,
    *,
    layers: Sequence[Layer] | None = None,
    network: str = RESNET50,
    shown: Sequence[str] = (),
    archs: Sequence[str | ArchSpec] = ARCHS,
    progress: Progress | None = None,
    **options: Any,
) -> pd.DataFrame:
    """Simulate a network with every pattern and block, and keep some of its layers and the whole.

    Parameters
    ----------
    sparsity : float
        Asked of every layer.
    layers : sequence of Layer, optional
        ResNet-50 without.
    network : str
        Its name.
    shown : sequence of str
        Names of layers to show; by default those of ResNet-50 above, or the pruned ones with the most MACs.
    archs : sequence of str or ArchSpec
        On their machines; dense is among them, and on the machine of the others.
    options
        As for `simulate`.
    progress : callable, optional
        As for `simulate`, over all runs.

    Returns
    -------
    DataFrame
        network, requested_sparsity, nm, block, layer ("network" the last), sizes (SxKxP), arch, weight_sparsity,
        macs_dense, cycles, speedup (over dense, in cycles); with energies also energy_uj, its parts and
        energy_gain (over dense). Of the network: sums over its calls and ratios of sums. Fractions have seven digits.

    Raises
    ------
    InputError
        As `simulate`, or a layer to be shown is not in the network.
    """
    import pandas as pd

    given = read_layers(shipped_layers()[RESNET50]) if layers is None else list(layers)
    names = [layer.name for layer in given]
    if not shown and set(RESNET50_LAYERS) <= set(names):
        shown = RESNET50_LAYERS
    for name in shown:
        if name not in names:
            near = difflib.get_close_matches(name, names, n=1, cutoff=0.0)
            raise InputError(f"--layer {name!r}: not a layer of {network}; did you mean {near[0]!r}?")
    if len(shown) > MOST_SHOWN or len(set(shown)) < len(shown):
        raise InputError(f"--layer: {len(shown)} layers: must be at most {MOST_SHOWN}, each once")
    if NETWORK in names:
        raise InputError(f"layer {NETWORK!r}: the figure calls the whole network so; give the layer another name")
    runs = [(nm, block) for nm in PATTERNS for block in BLOCKS]
    rows: list[Record] = []
    for index, (nm, block) in enumerate(runs):

        def tell(layer: Layer, done: int, total: int, index: int = index) -> None:
            if progress:
                progress(layer, index * total + done, len(runs) * total)

        results = simulate(given, archs, nm=nm, block=block, sparsity=sparsity, progress=tell, **options)
        own = records_of(results.to_dataframe())
        shown = shown or most_work(own)
        key = {"network": network, "requested_sparsity": sparsity, "nm": nm, "block": block}
        rows += [key | row for row in (*_layers(own, shown), *_network(own))]
    return pd.DataFrame(rows)


def lacks(table: pd.DataFrame) -> list[str]:
    """What a table must have to be drawn, and has not: rows of a pattern, block, layer and architecture, each once."""
    rows = records_of(table)
    keys = ("nm", "block", "layer", "arch")
    met = Counter(tuple(row[key] for key in keys) for row in rows)
    problems = []
    for combination in product(*(values_of(rows, key) for key in keys)):
        if met[combination] != 1:
            nm, block, layer, arch = combination
            problems.append(f"{met[combination]} rows of {nm}, block {block}, layer {layer}, {arch}: must be one")
    if not any(row["arch"] != BASELINE for row in rows):
        problems.append(f"no architecture beside {BASELINE}")
    if not any(row["layer"] != NETWORK for row in rows):
        problems.append(f"no layer beside the {NETWORK}")
    return problems


def most_work(rows: Sequence[Record]) -> list[str]:
    """The pruned layers with the most dense MACs, in the order of the network; of all if none is pruned."""
    own = [row for row in rows if row["arch"] == BASELINE]
    own = [row for row in own if row["weight_sparsity"] > 0] or own
    most = sorted(own, key=lambda row: -row["macs_dense"])[:MOST_LAYERS]
    return [row["layer"] for row in own if row in most]


def claims_apply(table: pd.DataFrame) -> bool:
    """Whether the table is of what the paper speaks of: ResNet-50, 80% to 90% asked."""
    low, high = CLAIMED_SPARSITY
    return all(row["network"] == RESNET50 and low <= row["requested_sparsity"] <= high for row in records_of(table))


def shown_bars(rows: Sequence[Record]) -> list[tuple[str, int]]:
    """What stands side by side for a layer: (architecture, block), crisp-stc with every block, the others with one."""
    blocks = sorted(values_of(rows, "block"))
    return [(arch, block) for arch in values_of(rows, "arch") for block in (blocks if arch == BLOCKED else blocks[-1:])]


def spans(table: pd.DataFrame, measure: str) -> list[str]:
    """A ratio over dense in words: for each pattern, at the largest block, of the network and of the layers shown."""
    rows = records_of(table)
    block = max(values_of(rows, "block"))
    lines = []
    for nm in values_of(rows, "nm"):
        parts = []
        for arch in [arch for arch in values_of(rows, "arch") if arch != BASELINE]:
            own = [row for row in rows if (row["nm"], row["block"], row["arch"]) == (nm, block, arch)]
            whole = "".join(f"network {row[measure]:.2f}x, " for row in own if row["layer"] == NETWORK)
            layers = [row[measure] for row in own if row["layer"] != NETWORK]
            parts.append(f"{arch} {whole}layers {min(layers):.2f}x to {max(layers):.2f}x")
        lines.append(f"{nm}, B = {block}: {'; '.join(parts)}")
    return lines


def _layers(rows: Sequence[Record], shown: Sequence[str]) -> Iterator[Record]:
    """The layers to show, in the order asked."""
    for name in shown:
        own = [row for row in rows if row["layer"] == name]
        dense = next(row for row in own if row["arch"] == BASELINE)
        for row in own:
            yield _measures(row | {"sizes": f"{row['s']}x{row['k']}x{row['p']}"}, dense)


def _network(rows: Sequence[Record]) -> Iterator[Record]:
    """Sums over all layers and calls."""
    names = [name for name in ("macs_dense", "cycles", "energy_uj", *parts_in(rows[0]).values()) if name in rows[0]]
    sums: dict[str, Record] = {}
    for arch in values_of(rows, "arch"):
        own = [row for row in rows if row["arch"] == arch]
        weights = [row["groups"] * row["s"] * row["k"] for row in own]
        pruned = sum(row["weight_sparsity"] * count for row, count in zip(own, weights, strict=True))
        what = {"layer": NETWORK, "sizes": "all layers", "arch": arch, "weight_sparsity": pruned / sum(weights)}
        sums[arch] = what | sums_of(own, names)
    for row in sums.values():
        yield _measures(row, sums[BASELINE])


def _measures(row: Record, dense: Record) -> Record:
    """The columns of a row, with ratios over the dense row of the same layer."""
    kept = {name: row[name] for name in ("layer", "sizes", "arch", "weight_sparsity", "macs_dense", "cycles")}
    kept["speedup"] = dense["cycles"] / row["cycles"]
    if "energy_uj" in row:
        kept |= {name: row[name] for name in ("energy_uj", *parts_in(row).values())}
        kept["energy_gain"] = dense["energy_uj"] / row["energy_uj"]
    return {name: float(f"{cell:.7g}") if isinstance(cell, float) else cell for name, cell in kept.items()}
