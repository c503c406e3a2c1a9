"""From pixels and words to features: encoders, detectors, spectra."""
