"""What a user says about an image: boxes, strokes, scribbles."""
