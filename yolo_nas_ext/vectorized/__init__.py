"""The search of half a million candidates: a space compiled to tables, evolved in arrays.

It may import `config`, `cost`, `estimators`, `network`, `space` and `study`.
"""
