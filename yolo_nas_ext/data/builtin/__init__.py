"""Data sets that need no file of the user: drawn ones, and recipes for public ones.

It may import the rest of `data`.
"""
