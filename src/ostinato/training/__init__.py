"""A run: settings, the training step, checkpoints, what the user sees. Built on Lightning's Trainer."""
