"""Dreams in the shape that other libraries expect, one library a file."""
