"""Slide images to files that other programs open, written block by block."""
