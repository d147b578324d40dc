"""Rolling customer records and feature vectors: pure NumPy, without I/O or clock.

`window` divides time into tiles and `record_codec` defines the records. `aggregate` and `erasures`
update them, and `window` sums them up. `feature_specs` defines the features, and `segmentation` the
vector of those that a deployment chooses. `dedup` remembers event ids. Every function processes all
customers of a batch at once.
"""
