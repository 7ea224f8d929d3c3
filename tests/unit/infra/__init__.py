"""tests/unit/infra"""
