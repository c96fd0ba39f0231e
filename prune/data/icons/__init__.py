"""IconSet-100: 100 visual concepts as drawn by many icon sets, 32x32 grayscale, built from the npm package on the spot.

The package `@iconify/json` holds SVG icon sets under open licences. Nothing of it is shipped: the user fetches it with
`npm pack`, and the set is rendered once and kept in the user's cache folder. Names tell the concept (`concepts.py`),
`rendering.py` draws, `split.py` splits by families of sets, `build.py` puts it together, `built_file.py` keeps it,
`load.py` makes tensors of it. Of identical renderings one is kept, over the whole data set, so none is in two splits; a
rendering that stands for two concepts is left out.

It is easier than CIFAR-100: clean drawings, centred, one object each. Say so beside every figure.
"""

from .load import load_icons

__all__ = ["load_icons"]
