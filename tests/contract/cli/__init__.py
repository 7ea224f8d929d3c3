"""tests/contract/cli"""
