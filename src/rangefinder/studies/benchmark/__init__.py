"""The benchmark: what sweep, cache and student save on a machine."""
