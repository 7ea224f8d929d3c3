"""tests/unit/web"""
