"""tests/contract/doctor"""
