"""Transduction: pairs of texts become a network that writes the second when it is given the first."""
