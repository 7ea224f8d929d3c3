"""tests/contract/project"""
