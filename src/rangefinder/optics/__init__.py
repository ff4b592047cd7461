"""Lenses: point spread functions, rendering and noise."""
