"""Reports, maps, videos and recordings."""
