"""From data to loss and metric: what a trainer needs to know of a task, and nothing of how it is trained."""
