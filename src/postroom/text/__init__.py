"""Folding and tokens for search: the index and the query use the same code.

`fold` makes letters alike (case, accents, width), `tokens` cuts words, `document` gives the words of a
mail their positions as PostgreSQL's tsvector wants them. Pure, total and linear: any text is fine.
"""
