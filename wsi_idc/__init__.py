"""Whole-slide image analysis for invasive ductal carcinoma of the breast."""

__version__ = "0.1.0"
