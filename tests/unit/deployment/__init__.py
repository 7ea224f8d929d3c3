"""tests/unit/deployment"""
