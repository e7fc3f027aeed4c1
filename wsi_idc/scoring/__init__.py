"""A source of patches through a classifier, into a results folder."""
