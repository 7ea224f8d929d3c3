"""Transparent snapshots, the host's side: an agent that dumps and restores a container's command with CRIU.

Run as `python -m spotbatch.snapshots` by root on a host (docs/snapshots.md). Standard library only, and in the syntax
of Python 3.9, which is what Amazon Linux 2023 has.
"""
