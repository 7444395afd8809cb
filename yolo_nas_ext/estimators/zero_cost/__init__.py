"""Scores of an untrained network: closed forms, operations, and proxies that need one batch.

It may import what `estimators` may.
"""
