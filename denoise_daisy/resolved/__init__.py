"""What a run is: its config held against its image, its stages, its workers."""
