"""tests/contract/runs"""
