"""Charts: what they show, and how matplotlib draws them, as PNG files and as SVG inside a page. Needs no torch."""
