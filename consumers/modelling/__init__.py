"""Model maintenance: initial fit, refits, generations and their definitions."""
