"""WHO runs the time loop."""
