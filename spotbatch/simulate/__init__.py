"""Runs on virtual time: the same scheduler, a simulated fleet, and Spot from traces, a model or a rate."""
