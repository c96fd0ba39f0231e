"""How all figures look, and how one is saved: the same table gives the same bytes under one version of matplotlib."""

from __future__ import annotations

import importlib.util
import tempfile
import warnings
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ...sim import InputError

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

Draw = Callable[["pd.DataFrame", Path], None]

WIDTH = 7.0  # inches: two columns of a paper
FONT, TITLE = 7.0, 8.0  # points
PNG_DPI = 200
INK, FAINT, BAND = "#222222", "#D4D4D4", "#E6E6E6"

NETWORK = "network"  # what all layers together are called

_STYLE: dict[str, Any] = {
    "axes.axisbelow": True,
    "axes.edgecolor": INK,
    "axes.grid.axis": "both",
    "axes.labelsize": FONT,
    "axes.linewidth": 0.6,
    "axes.spines.right": False,
    "axes.spines.top": False,
    "axes.titlelocation": "left",
    "axes.titlesize": TITLE,
    "axes.titleweight": "bold",
    "font.family": "sans-serif",  # DejaVu Sans, which comes with matplotlib
    "font.size": FONT,
    "grid.color": FAINT,
    "grid.linewidth": 0.5,
    "hatch.linewidth": 0.5,
    "legend.fontsize": FONT,
    "legend.frameon": False,
    "legend.handlelength": 1.4,
    "svg.fonttype": "none",  # text stays text: it can be searched, read aloud, and takes a tenth of the bytes
    "svg.hashsalt": "crispsim",
    "text.parse_math": False,  # a layer's name may hold a $
    "xtick.labelsize": FONT,
    "xtick.major.width": 0.6,
    "ytick.labelsize": FONT,
    "ytick.major.width": 0.6,
}


@dataclass(frozen=True)
class Look:
    """Colour, hatch and marker of one thing shown: each two of them differ in lightness or hatch, too.

    Hatches are of lines: one of dots takes 250 kB in an SVG.
    """

    colour: str
    hatch: str = ""
    marker: str = "o"


# Okabe and Ito's colours, which colour-blind readers tell apart, and shades of them.
ARCHS = {
    "dense": Look("#8C8C8C", "", "s"),
    "stc": Look("#E69F00", "", "^"),
    "dstc": Look("#009E73", "////", "D"),
    "crisp-stc": Look("#00406B", "", "o"),
    "dstc-given-masks": Look("#7FCEB9", "----", "v"),
    "dstc-equal-storage": Look("#CC79A7", "xxxx", "P"),
}
_MORE = (
    Look("#D55E00", "", "X"),
    Look("#F0E442", "||||", "<"),
    Look("#56B4E9", "\\\\\\\\", ">"),
    Look("#444444", "++"),
)

CAUSE_LOOKS = {
    "busy": Look("#C9DDEC"),
    "stall_drain": Look("#E69F00", "////"),
    "stall_smem": Look("#C04A00"),
    "stall_dram": Look("#5E3C99", "\\\\\\\\"),
    "stall_rf": Look("#CC79A7", "xxxx"),
    "stall_sync": Look("#F0E442", "||||"),
    "idle": Look("#8C8C8C"),
}

PART_LOOKS = {
    "mac": Look("#00406B"),
    "select": Look("#56B4E9", "////"),
    "rf": Look("#009E73"),
    "accumulator": Look("#A8DDCE", "\\\\\\\\"),
    "smem": Look("#E69F00"),
    "metadata": Look("#F0E442", "xxxx"),
    "leakage": Look("#D0D0D0"),
    "dram": Look("#5E3C99"),
}


def looks_of(archs: Iterable[str]) -> dict[str, Look]:
    """A look for each architecture, its own where it is known."""
    others = 0
    looks = {}
    for arch in archs:
        if arch not in ARCHS:
            others += 1
        looks[arch] = ARCHS.get(arch) or _MORE[(others - 1) % len(_MORE)]
    return looks


def need_matplotlib() -> None:
    """Make sure that figures can be drawn.

    Raises
    ------
    InputError
        matplotlib is not installed.
    """
    if importlib.util.find_spec("matplotlib") is None:
        raise InputError("figures need matplotlib: pip install 'crispsim[plot]'")


def save(build: Callable[[pd.DataFrame], Figure], table: pd.DataFrame, path: Path) -> None:
    """Make a figure of a table and write it to a .svg or .png file, whose folder is there.

    Raises
    ------
    InputError
        matplotlib is not installed.
    """
    need_matplotlib()
    import matplotlib

    with matplotlib.rc_context(), warnings.catch_warnings():
        matplotlib.rcdefaults()  # whatever the user's own matplotlibrc says
        matplotlib.rcParams.update(_STYLE)  # pyright: ignore[reportCallIssue, reportArgumentType]
        warnings.filterwarnings("ignore", message="Glyph .* missing", category=UserWarning)
        figure = build(table)
        figure.set_facecolor("white")
        figure.savefig(path, metadata={"Date": None} if path.suffix == ".svg" else None, dpi=PNG_DPI)


def svg_of(draw: Draw, table: pd.DataFrame) -> str:
    """The figure that `draw` makes of a table, as the text of an SVG document.

    Raises
    ------
    InputError
        matplotlib is not installed, or as `draw`.
    """
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "figure.svg")
        draw(table, path)
        return path.read_text(encoding="utf-8")


def label_of(name: str, longest: int = 28) -> str:
    """A user's name as it can be written into a picture: printable, shortened in the middle.

    The terminal has its own (`cli.tables`), which cuts at another length and leaves signs to the terminal.

    >>> label_of("encoder.layers.11.attention.output", 15)
    'encoder….output'
    """
    name = "".join(sign if sign.isprintable() else "?" for sign in name)
    half = (longest - 1) // 2
    return name if len(name) <= longest else f"{name[:half]}…{name[-half:]}"


def rows_axis(axes: Axes, labels: list[str]) -> None:
    """Number the rows of a chart from the top and name them; the last one, the network, stands apart."""
    axes.set_yticks(range(len(labels)), labels)
    axes.set_ylim(len(labels) - 0.4, -0.6)
    axes.tick_params(axis="y", length=0)
    for text in axes.get_yticklabels()[-1:]:
        text.set_fontweight("bold")


def write_beside(axes: Axes, x: float, y: float, text: str) -> None:
    """Write to the right of where a bar ends."""
    axes.annotate(text, (x, y), (3, 0), textcoords="offset points", va="center_baseline")
