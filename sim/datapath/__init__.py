"""Values through the datapath: int8 operands really move along the modelled path, in the order a plan prescribes.

The engine moves time and bytes, never values. Here the same plan moves packed values, indices, selected activations,
partial sums and drained results; the outcome must equal an integer product that knows no plan, bit for bit.
"""

from .errors import DatapathError

__all__ = ["DatapathError"]
