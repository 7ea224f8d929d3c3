"""tests/contract/aws"""
