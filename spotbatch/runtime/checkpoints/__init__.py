"""Checkpoints: writing, pruning and restoring them, and when to save.

Not named `checkpoint`: `from spotbatch.runtime import checkpoint` is what programs write for `api.checkpoint`, and a
submodule of that name would take its place as soon as anything imported it.
"""
