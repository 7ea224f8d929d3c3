"""tests/unit/docs"""
