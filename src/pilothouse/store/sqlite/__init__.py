"""The store on SQLite: one file, one writer at a time, readers beside it.

    process ──► writer connection (BEGIN IMMEDIATE … COMMIT, one fsync) ──► database ◄── pool of reader connections

A commit is answered only when it is on the disk (`synchronous=FULL`). The schema's own rules stand in `migrations/`,
the queries by aggregate in `sql/`, and `rows` is the one place where untyped values become ours.
"""
