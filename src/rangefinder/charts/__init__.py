"""Printed charts: sheets, their detection in photos, distances to photograph them at."""
