"""tests/unit/runs"""
