"""One customer, asked about: where they are, why, since when, and what would move them.

`found` and `history` read the store and the change log, `outlook` says what would move them,
`answer` puts it together and `text` writes it for people.
"""
