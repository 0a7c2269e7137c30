"""The asset graph. `definitions.py` is the code location, `cli.py` the command `smotext`."""

import warnings

import dagster as dg

# Backfill policies and partition mappings are beta in this release, which is pinned.
warnings.filterwarnings("ignore", category=dg.BetaWarning)
