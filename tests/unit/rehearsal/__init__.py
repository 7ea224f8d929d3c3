"""tests/unit/rehearsal"""
