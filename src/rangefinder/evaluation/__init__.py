"""Scoring of models, baselines, figures and reports."""
