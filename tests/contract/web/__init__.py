"""tests/contract/web"""
