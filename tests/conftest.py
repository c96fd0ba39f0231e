"""Hypothesis: no deadlines (kernels compile in the first example), fewer examples where kernels are plain Python.

One OpenMP thread a process, here and in the processes that tests start: two busy ones that share two cores made torch
20 times slower. It must be set before torch is imported.
"""

import os

os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("OMP_WAIT_POLICY", "passive")

from hypothesis import settings

settings.register_profile("default", deadline=None)
settings.register_profile("plain", deadline=None, max_examples=15)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "default"))
