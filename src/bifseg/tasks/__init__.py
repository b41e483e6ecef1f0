"""What was learnt from the objects of one kind that somebody finished: a task, its examples, its versions."""
