"""Metric distance from the blur in one photo, through a lens you already own."""

__version__ = "0.1.0"
