"""tests/unit/batch"""
