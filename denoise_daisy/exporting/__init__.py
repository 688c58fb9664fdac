"""Outputs in other formats: OME-TIFF, and OME-Zarr in one file."""
