"""Point, object and image navigation, and exploration, in rendered scenes."""
