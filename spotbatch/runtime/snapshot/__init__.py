"""Transparent snapshots, the container's side: docs/snapshots.md. Loaded only if `SPOTBATCH_SNAPSHOT` asks for them."""
