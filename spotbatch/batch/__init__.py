"""The rulebook: AWS Batch's rules as pure code. Standard library only: no I/O, no clock, no randomness."""
