"""Runs on virtual time: the same scheduler, a simulated fleet, Spot as traces, a model or a rate have it."""
