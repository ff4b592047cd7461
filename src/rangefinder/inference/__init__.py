"""One predictor behind every command, the evaluation and the served model."""
