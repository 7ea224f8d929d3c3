"""tests/unit/local"""
