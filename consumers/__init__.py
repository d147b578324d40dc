"""The segmenter: polls, decodes, folds, assigns, commits; and a sample subscriber."""
