"""Many to one: a class, several classes or numbers for each sequence, be it a text or a series."""
