"""Captures: their files and manifest, and the simulated ones of the default run."""
