"""Where to run next: Spot, on-demand or wait, for a job with a deadline. Pure: no I/O, no clock, no randomness."""
