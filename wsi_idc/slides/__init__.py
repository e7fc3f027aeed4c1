"""A raw slide as a grid of tiles: scale, tissue, annotations."""
