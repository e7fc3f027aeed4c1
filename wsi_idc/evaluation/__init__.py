"""Scores of many cases -> metrics with intervals."""
