"""tests/unit/doctor"""
