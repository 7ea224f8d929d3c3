"""Checkpoints: writing, pruning and restoring them, and when to save.

Not named `checkpoint`: programs write `from spotbatch.runtime import checkpoint` for `api.checkpoint`, and a
submodule with that name would replace it as soon as anything imported it.
"""
