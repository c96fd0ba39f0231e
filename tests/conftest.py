"""Hypothesis: no deadlines (kernels compile in the first example), fewer examples where kernels are plain Python."""

import os

from hypothesis import settings

settings.register_profile("default", deadline=None)
settings.register_profile("plain", deadline=None, max_examples=15)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "default"))
