"""tests/contract/local"""
