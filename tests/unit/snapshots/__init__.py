"""Transparent snapshots: the parts that need neither root nor CRIU."""
