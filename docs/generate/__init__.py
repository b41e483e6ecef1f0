"""The generated pages of docs/: ``python -m docs.generate`` writes them, see `docs.generate.__main__`."""
