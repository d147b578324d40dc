"""The worker, from poll to publication; and a sample subscriber.

Read `segmenter` first: one round, top to bottom. Then what a round is made of: `fetch` and `batch`
poll and decode, `folding`, `scoring` and `changes` are the parts of `round`, which decides without
I/O by the `rules`; `publications` follows what goes out. What has to be when partitions are taken
over: `takeover` decides, `reconcile` acts, `recovery` makes a lost store anew from what `published`
reads back. The model over time: `global_model`, `warmup`, `refit`, `generations`, `definitions`.
"""
