"""tests/contract/deployment"""
