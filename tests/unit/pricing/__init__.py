"""tests/unit/pricing"""
