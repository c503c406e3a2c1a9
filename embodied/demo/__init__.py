"""What `embodied demo` trains, compares and shows."""
