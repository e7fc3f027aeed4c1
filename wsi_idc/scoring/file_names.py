"""Names of the files in a slide's results folder."""

SCORES_FILE = "scores.csv"
METRICS_FILE = "metrics.json"
RUN_FILE = "run.json"
MOSAIC_FILE = "mosaic.png"
SHEET_FILE, SHEET_PDF = "heatmap.png", "heatmap.pdf"
CLASSES_FILE = "classes.png"
GEOJSON_FILE = "scores.geojson"
PROBABILITY_TIFF, PROBABILITY_ZARR = "probability.ome.tif", "probability.ome.zarr"
OVERLAY_TIFF = "overlay.ome.tif"
PROBABILITY_DICOM, SEGMENTATION_DICOM = "probability.dcm", "segmentation.dcm"
VIEWS = (
    *(SHEET_FILE, SHEET_PDF, CLASSES_FILE, "overlay.png", "confusion.png", "tissue.png"),
    *(GEOJSON_FILE, f"{GEOJSON_FILE}.gz", PROBABILITY_TIFF, PROBABILITY_ZARR, OVERLAY_TIFF),
    *(PROBABILITY_DICOM, SEGMENTATION_DICOM),
)
"""Pictures, and files for other programs."""
THUMBNAIL_FILE = "thumbnail.png"
OF_SCORES = (METRICS_FILE, *VIEWS, THUMBNAIL_FILE)
"""Removed when the slide is scored anew."""
MOSAIC_TIFF, MOSAIC_ZARR = "mosaic.ome.tif", "mosaic.ome.zarr"
MOSAICS = (MOSAIC_FILE, MOSAIC_TIFF, MOSAIC_ZARR)
"""Of the slide alone: they last as long as its pixels are the same."""
PATCHES_FILE = "report.js"
SLIDE_FILES = (SCORES_FILE, RUN_FILE, PATCHES_FILE, *OF_SCORES, *MOSAICS)
"""All that a run makes in the folder of a slide."""
