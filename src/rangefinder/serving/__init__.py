"""Trained models outside the project: the MLflow pyfunc."""
