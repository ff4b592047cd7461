"""Lenses: point spread functions, rendering, sensor noise, identifiability."""
