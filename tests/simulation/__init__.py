"""tests/simulation"""
