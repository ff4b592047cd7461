"""Exact sliding-window inference of the teacher."""
