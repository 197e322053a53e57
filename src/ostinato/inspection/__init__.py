"""Looking inside: the tape of gates and states, and what a layer says of itself."""
