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
"""Made of the scores: they are as old as those."""
MOSAIC_TIFF, MOSAIC_ZARR = "mosaic.ome.tif", "mosaic.ome.zarr"
MOSAICS = (MOSAIC_FILE, MOSAIC_TIFF, MOSAIC_ZARR)
"""Of the slide alone: they last as long as its pixels are the same."""
PATCHES_FILE = "report.js"
SLIDE_FILES = (SCORES_FILE, METRICS_FILE, RUN_FILE, PATCHES_FILE, *VIEWS, *MOSAICS)
"""All that a run makes in the folder of a slide."""
