"""Scores to pictures: the mosaic, the overlay, the sheet, the confusion matrix and the training curve."""
