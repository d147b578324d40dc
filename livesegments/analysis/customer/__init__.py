"""Query of one customer: segment, reasons, history, and changes that would move them.

`lookup` and `history` read the store and the change log; `explanation` and `counterfactuals`
compute reasons and changes; `models` is the answer and `text_view` its text.
"""
