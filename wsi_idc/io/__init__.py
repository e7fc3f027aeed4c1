"""Pixels of any region of a file."""
