"""The CPU back-end: from a graph to machine code, through llvmlite."""
