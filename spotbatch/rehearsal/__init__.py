"""Runs a sample of a user's jobs in a private local region, with and without reclaims, and reports on both."""
