"""WHAT is computed: one family a file, the equations once, in plain PyTorch."""
