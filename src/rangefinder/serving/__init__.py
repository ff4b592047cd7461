"""Trained models outside the project: one ONNX file, the MLflow pyfunc."""
