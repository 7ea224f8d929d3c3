"""tests/contract/docs"""
