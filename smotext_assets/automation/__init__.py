"""What runs by itself: the nightly schedule and the sensors."""

from smotext_assets.automation.schedules import root_cause, unfinished_runs

__all__ = ["root_cause", "unfinished_runs"]
