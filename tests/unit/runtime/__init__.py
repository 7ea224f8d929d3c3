"""tests/unit/runtime"""
