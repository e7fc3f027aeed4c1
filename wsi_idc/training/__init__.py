"""Fit networks to labelled patches."""
