"""Kedro pipelines; each folder is one of them, `distill` chains all."""
