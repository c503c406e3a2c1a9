"""What `embodied eval` measures, films and explains: one evaluator a kind of task."""
