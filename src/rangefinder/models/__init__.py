"""Networks and their predictions; torch only."""
