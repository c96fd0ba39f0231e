"""The figures of `crispsim figure`, by name."""

from . import energy, metadata, roofline, roofline_levels, sparsity, speedup, stalls
from .figure_kind import FigureKind

FIGURES: dict[str, FigureKind] = {
    kind.name: kind
    for kind in (
        metadata.FIGURE,
        speedup.FIGURE,
        energy.FIGURE,
        stalls.FIGURE,
        roofline.FIGURE,
        roofline_levels.FIGURE,
        sparsity.FIGURE,
    )
}
