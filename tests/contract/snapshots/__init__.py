"""Transparent snapshots with real processes and CRIU; skipped with the reason where there is none."""
