"""The sweep of the teacher over photos, and the store of its predictions."""
