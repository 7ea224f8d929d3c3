"""tests/contract/rehearsal"""
