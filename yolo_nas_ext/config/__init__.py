"""Settings: every key a user can type, its type, its default, and the rules between keys.

It imports nothing of the package but `errors`, `files` and `console`.
"""
