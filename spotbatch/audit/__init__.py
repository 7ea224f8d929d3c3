"""Audits AWS Batch resources against known problems: rules over a template or a live queue. Read-only."""
