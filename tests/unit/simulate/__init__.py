"""tests/unit/simulate"""
