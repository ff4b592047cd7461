"""The `rangefinder` commands, one module each; they run without Kedro."""
