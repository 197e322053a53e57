"""HOW a step becomes native code."""
