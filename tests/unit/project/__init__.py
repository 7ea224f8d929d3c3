"""tests/unit/project"""
