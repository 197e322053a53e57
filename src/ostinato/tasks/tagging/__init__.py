"""Tagging: every word of a sentence gets a tag, from CoNLL, CoNLL-U or JSON lines, back into the same format."""
