"""What is written: OME-Zarr images and labels, and tables of objects."""
