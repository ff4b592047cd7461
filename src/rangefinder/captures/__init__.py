"""Captures: manifest, splits, reading images and distance maps, import, checks."""
