"""Weights of one network carried over into another.

It may import what `host` may.
"""
