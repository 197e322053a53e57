"""Tests of the known cells, one family a file."""
