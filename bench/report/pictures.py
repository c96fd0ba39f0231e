"""The figures of a report, drawn from the same rows, and an SVG file made fit to stand in a page among others."""

from __future__ import annotations

import importlib.util
import re
from xml.etree import ElementTree

from ...sim.archs import BASELINE
from ..pruned_reader import PrunedFolder
from ..run_folder import RunFolder
from .content import Picture

_LINKS = re.compile(r"url\(#([^)]+)\)")
_DECIMALS = re.compile(r"(\d\.\d{2})\d+")  # beyond a hundredth of a point
# What an SVG file says about itself, and loads nothing by: no part of a page.
_LEFT_OUT = ("metadata", "title", "desc")


def run_pictures(run: RunFolder) -> list[Picture] | None:
    """The figures of a run, not drawn yet; None if matplotlib is not installed."""
    if importlib.util.find_spec("matplotlib") is None:
        return None
    from ..figures import roofline, roofline_levels, run_energy, run_speedup, stalls
    from ..figures.drawing import svg_of

    others = [arch for arch in run.archs if arch != BASELINE]
    pictures = []
    if others:
        pictures.append(
            Picture(
                id="figure-speedup",
                draw=lambda: svg_of(run_speedup.draw, run.rows),
                caption="Speedup over dense, layer by layer and of the whole network. Layers alike are folded (×).",
                description="Speedup over dense of every layer on each architecture; the numbers stand in the layers.",
            )
        )
    if run.has_energy:
        pictures.append(
            Picture(
                id="figure-energy",
                draw=lambda: svg_of(run_energy.draw, run.rows),
                caption="Energy of the network on each architecture, part by part.",
                description="Energy by part; the numbers stand in the section on energy.",
            )
        )
    pictures.append(
        Picture(
            id="figure-stalls",
            draw=lambda: svg_of(stalls.draw, stalls.collect(run.rows)),
            caption="What the core-cycles of each layer were spent on.",
            description="Shares of core-cycles by cause; the numbers stand in the section on core-cycles.",
        )
    )
    below_roofs = roofline.collect(run.rows, run.machines)
    if not roofline.lacks(below_roofs):
        pictures.append(
            Picture(
                id="figure-roofline",
                draw=lambda: svg_of(roofline.draw, below_roofs),
                caption="Each layer below the roofs of the machine: its MACs, and the bandwidth of the SMEM.",
                description="Roofline: MACs issued a cycle over MACs issued a byte of SMEM traffic.",
            )
        )
    levels = roofline_levels.collect(run.rows, run.machines)
    if not roofline_levels.lacks(levels):
        pictures.append(
            Picture(
                id="figure-roofline-levels",
                draw=lambda: svg_of(roofline_levels.draw, levels),
                caption="Each layer twice, below the roofs of DRAM, SMEM and MACs: at its MACs a byte of either level.",
                description="Roofline of each level: MACs issued a cycle over MACs issued a byte moved.",
            )
        )
    return pictures


def pruned_pictures(pruned: PrunedFolder) -> list[Picture] | None:
    """The figures of a pruned network, not drawn yet; None if matplotlib is not installed."""
    if importlib.util.find_spec("matplotlib") is None:
        return None
    import pandas

    from ..figures import fine_tuning, sparsity
    from ..figures.drawing import svg_of

    pictures = []
    layers = sparsity.collect(pruned.layers)
    if not sparsity.lacks(layers):
        pictures.append(
            Picture(
                id="figure-sparsity",
                draw=lambda: svg_of(sparsity.draw, layers),
                caption="What N:M and pruned blocks removed of each layer, and the MACs that are left, in the order in "
                "which the layers run.",
                description="Sparsity and MACs of every layer; the numbers stand in the layers.",
            )
        )
    if pruned.history:
        history = pandas.DataFrame(list(pruned.history))
        pictures.append(
            Picture(
                id="figure-training",
                draw=lambda: svg_of(fine_tuning.draw, history),
                caption="Accuracy, loss and sparsity over the epochs of fine-tuning.",
                description="Accuracy, loss and sparsity of every epoch; the numbers stand in the section on training.",
            )
        )
    return pictures


def inline(svg: str, prefix: str, description: str) -> str:
    """An SVG document as an element of an HTML page: ids of its own, its styles confined to it, as wide as its place.

    What draws nothing is left out: descriptions, ids that nothing names, digits beyond a hundredth of a point.

    Parameters
    ----------
    svg : text of an SVG file
    prefix : put before each of its ids; also the id of the element
    description : read out in place of the picture
    """
    root = ElementTree.fromstring(svg)
    used = set(_LINKS.findall(svg)) | set(re.findall(r'href="#([^"]+)"', svg))
    for parent in list(root.iter()):
        for child in list(parent):
            if _local(child.tag) in _LEFT_OUT:
                parent.remove(child)
    for element in root.iter():
        element.tag = _local(element.tag)
        for key, value in list(element.attrib.items()):
            del element.attrib[key]
            name = _local(key)  # xlink:href is href
            if name == "id":
                if value not in used:
                    continue
                value = f"{prefix}-{value}"
            elif name == "href" and value.startswith("#"):
                value = f"#{prefix}-{value[1:]}"
            elif name == "d":
                value = _DECIMALS.sub(r"\1", " ".join(value.split()))
            element.set(name, _LINKS.sub(rf"url(#{prefix}-\1)", value))
        element.tail = None
        if element.tag != "style" and not (element.text or "").strip():
            element.text = None
        if element.tag == "style":
            element.text = re.sub(r"\*\s*\{", f"#{prefix} * {{", element.text or "")
    box = root.get("viewBox", "0 0 504 360").split()
    root.attrib = {
        "id": prefix,
        "viewBox": " ".join(box),
        "role": "img",
        "aria-label": description,
        "style": f"aspect-ratio:{box[2]}/{box[3]}",
    }
    return ElementTree.tostring(root, encoding="unicode", short_empty_elements=True)


def _local(name: object) -> str:
    return str(name).rpartition("}")[2]
