"""Importing torchvision where its compiled part cannot load: the one place that knows about it.

What goes wrong
---------------
torchvision ships a compiled part, `_C.so`, with operators for object detection (`torchvision::nms` and others). A wheel
is built against one release of torch and for one platform: the wheels on PyPI for Linux want CUDA's libraries. Beside
a CPU-only torch, or another release of it, the library does not load. torchvision takes that quietly
(`torchvision/extension.py` catches the error), but two of its files then attach Python functions to operators that
nobody declared, and `import torchvision` ends in

    RuntimeError: operator torchvision::nms does not exist

although no classification model needs these operators.

What is done
------------
The import is tried first; where it works, nothing else happens. Where it fails with that message, the two operators in
question, nms and qnms, are *declared* (name and types, without code) through `torch.library`, and torchvision is
imported again. Its models are plain Python over torch and then work in full. Calling `torchvision.ops.nms` still fails,
with torchvision's own message that its compiled operators are missing.

The proper cure is a matching pair: `pip install torch torchvision --index-url https://download.pytorch.org/whl/cpu`.
"""

from __future__ import annotations

import importlib
import re
import sys

import torch

from ..errors import PruneError

# The types of torchvision 0.19 to 0.28, torchvision/csrc/ops/nms.cpp and quantized/cpu/qnms_kernel.cpp.
_SCHEMAS = (
    "nms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor",
    "qnms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor",
)

# A declaration lives as long as its Library object; it must be made once only.
_declared: list[torch.library.Library] = []


def prepare_torchvision() -> None:
    """Make sure that `import torchvision` works, declaring its detection operators where they are missing.

    Safe to call again and again; without effect where torchvision imports by itself.

    Raises
    ------
    PruneError
        torchvision is not installed, or fails to import for another reason.
    """
    try:
        importlib.import_module("torchvision")
        return
    except ModuleNotFoundError as error:
        if error.name == "torchvision":
            raise PruneError("torchvision: not installed (pip install 'crispsim[prune]')") from error
        raise PruneError(f"torchvision: does not import: {error}") from error
    except Exception as error:
        if _declared or not re.search(r"operator torchvision::\w+ does not exist", str(error)):
            raise PruneError(f"torchvision: does not import: {error}") from error
    library = torch.library.Library("torchvision", "FRAGMENT")
    for schema in _SCHEMAS:
        library.define(schema)
    _declared.append(library)
    # What the failed import left behind would be taken for finished modules.
    for name in [name for name in sys.modules if name == "torchvision" or name.startswith("torchvision.")]:
        del sys.modules[name]
    try:
        importlib.import_module("torchvision")
    except Exception as error:
        raise PruneError(f"torchvision: does not import, nor with its operators declared: {error}") from error
