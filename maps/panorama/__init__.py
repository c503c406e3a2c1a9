"""What is seen all around from one place."""
