"""tests/unit/policy"""
