"""tests/unit/audit"""
