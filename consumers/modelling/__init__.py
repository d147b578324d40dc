"""Keep the model current: initial fit, refits, generations and their definitions."""
