"""The teacher cache: its store, how it is filled, its key, and its audit."""
