"""tests/unit/cli"""
