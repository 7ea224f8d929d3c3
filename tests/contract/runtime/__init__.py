"""tests/contract/runtime"""
