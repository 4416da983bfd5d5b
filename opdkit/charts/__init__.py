"""Charts as data, drawn with matplotlib as PNG files or inline SVG. Needs no torch."""
