"""The ablation: variants of the method, trained and scored on the same pixels."""
