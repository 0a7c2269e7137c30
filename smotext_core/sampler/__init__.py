"""`SMOTExT`, the front door: the method behind imbalanced-learn's `fit_resample`.

No asset graph, no store. What a sample is and what it must pass is decided on the floors below.
"""

from smotext_core.sampler.oversampler import SMOTExT

__all__ = ["SMOTExT"]
