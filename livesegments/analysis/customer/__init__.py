"""Query of one customer: segment, reasons, history, and changes that would move them.

`lookup` reads the store and `query` the change log; `explanation` computes reasons and changes,
`answer` puts them together, and `text_view` is its text.
"""
