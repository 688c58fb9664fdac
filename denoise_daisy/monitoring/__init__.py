"""How far a run is, from its files alone: values, words and a page."""
