"""The search of half a million candidates: a space as tables, evolved in arrays.

It may import `config`, `cost`, `estimators`, `network`, `space` and `study`.
"""
