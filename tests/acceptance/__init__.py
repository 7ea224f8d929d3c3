"""tests/acceptance"""
