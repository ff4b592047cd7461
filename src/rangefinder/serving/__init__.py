"""Trained models outside the project: exported files, their runtimes, the MLflow pyfunc."""
