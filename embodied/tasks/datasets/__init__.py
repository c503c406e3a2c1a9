"""One small adapter per episode data set."""
