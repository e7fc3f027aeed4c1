"""Scores of many cases -> figures with intervals."""
