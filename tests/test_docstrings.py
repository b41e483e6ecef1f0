"""The check of docstrings looks at what it should, and can fail."""

from docs.docstrings import problems, public


def test_public_names_are_checked_with_their_methods_and_private_ones_are_not():
    names = set(public())
    assert {"bifseg.session.session.Session.box", "bifseg.session.objects.SessionObjects.mask"} <= names
    assert {"bifseg.io.images.read_image", "bifseg.method.weight_map.weight_map"} <= names
    assert not any(part.startswith("_") for name in names for part in name.split("."))


def test_a_docstring_without_sections_is_a_problem():
    found = problems("bifseg.algorithms.graphcut.steps")
    assert any("graphcut.py" in line and "PR01" in line and "neighbours" in line for line in found)
    assert any("RT01" in line for line in found)
