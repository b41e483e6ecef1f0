import pickle

import pytest

from bifseg import errors
from bifseg.errors import BifsegError, CannotWrite, DamagedFile, FileError, InvalidInput, SeveralSeries, from_dict


def kinds(kind: type[BifsegError]) -> list[type[BifsegError]]:
    return [kind, *(one for below in kind.__subclasses__() for one in kinds(below))]


PUBLIC = [kind for kind in kinds(BifsegError) if kind.__module__ == errors.__name__]


def made(kind: type[BifsegError]) -> BifsegError:
    return kind("a.nii", "is damaged.", number=3) if issubclass(kind, FileError) else kind("No.", number=3)


@pytest.mark.parametrize("kind", PUBLIC)
def test_an_error_survives_another_process(kind):
    error = made(kind)
    for same in (from_dict(error.as_dict()), pickle.loads(pickle.dumps(error))):
        assert type(same) is kind
        assert (str(same), same.data) == (str(error), {"number": 3})


def test_every_kind_has_a_code_of_its_own_and_stands_in_the_drawing():
    codes = [kind.code for kind in PUBLIC]
    assert len(codes) == len(set(codes))
    for kind in PUBLIC:
        assert f" {kind.__name__}" in errors.__doc__


def test_an_error_about_a_file_can_speak_of_it_by_another_name():
    assert str(DamagedFile("/tmp/x7", "is empty.").of("The upload")) == "The upload is empty."
    assert str(CannotWrite("a.png", "it is 3D.").of("b.png")) == "Cannot write b.png: it is 3D."
    series = SeveralSeries("/tmp/x7", "holds two.", series=["1", "2"]).of("The upload")
    assert (type(series), series.data) == (SeveralSeries, {"series": ["1", "2"]})


def test_what_catches_the_python_kinds_catches_ours():
    assert issubclass(InvalidInput, ValueError)
    assert issubclass(errors.MissingFile, FileNotFoundError)
    assert issubclass(CannotWrite, OSError)
    assert issubclass(errors.MissingExtra, ImportError)
