"""Trained models in use: measuring, registry, records of runs."""
