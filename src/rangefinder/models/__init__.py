"""Networks and their predictive distribution; torch only, no training."""
