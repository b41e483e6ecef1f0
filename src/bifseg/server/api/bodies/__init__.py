"""The JSON bodies of the API: of images and sessions, of what is drawn, and of what is answered."""
