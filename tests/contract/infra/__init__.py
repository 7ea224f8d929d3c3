"""tests/contract/infra"""
