"""Tables of rows: what is read of them, and what is said of those that are wrong."""

import csv
import io
import json

import pytest

from bifseg.batch import run
from bifseg.batch.table import read_table
from bifseg.errors import DamagedFile, InvalidInput, MissingFile


def table(folder, text, name="table.csv"):
    path = folder / name
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return path


def test_rows_are_read_from_csv_and_json_alike(tmp_path):
    head, line = ["image", "box", "label", "name"], ["scan.nii.gz", "1:5,2:6,3", "", "left kidney"]
    quoted = ",".join(f'"{value}"' for value in line)
    texts = [
        f"{','.join(head)}\n{quoted}\n", "\ufeff" + ";".join(head) + "\r\n" + ";".join(line) + "\r\n\r\n",
        "\t".join(head) + "\n" + "\t".join(line), " image , box,label,name\n" + quoted,
    ]  # fmt: skip
    rows = [read_table(table(tmp_path, text)) for text in texts]
    entry = dict(zip(head, [*line[:2], None, line[3]], strict=True))
    rows.append(read_table(table(tmp_path, json.dumps([entry]), "table.json")))
    assert all(one == rows[0] for one in rows)
    (row,) = rows[0]
    assert (row.number, row.name, row.box, row.label, row.problem) == (1, "left kidney", "1:5,2:6,3", "", "")
    assert row.image == str(tmp_path / "scan.nii.gz")


def test_names_are_the_scans_and_no_two_are_alike(tmp_path):
    images = ["a/scan.nii.gz", "b/scan.nii.gz", "Scan-2.nrrd", "scan.mha", "dicom/"]
    rows = read_table(table(tmp_path, "image,box\n" + "".join(f'{one},"1:5,1:5,1"\n' for one in images)))
    assert [row.name for row in rows] == ["scan", "scan-2", "Scan-2-2", "scan-3", "dicom"]
    assert not any(row.problem for row in rows)
    # Rows that are added later change no name.
    more = read_table(table(tmp_path, "image,box\n" + "".join(f'{one},"1:5,1:5,1"\n' for one in [*images, "scan.nii"])))
    assert more[:5] == rows


@pytest.mark.parametrize(
    ("line", "said"),
    [
        (',"1:5,1:5,1",,,,', "names no image"),
        ("scan.nii,,,,,", "give a box, a mask"),
        ('scan.nii,"1:5,1:5,1",,old.nii,,', "give the one or the others"),
        ('scan.nii,"1:5,1:5,1",,,2,', "and there is none"),
        ("scan.nii,,mask.nii,,two,", "its label is 'two'"),
        ("scan.nii,,mask.nii,,,../mask", "its name is '../mask'"),
        ("scan.nii,,mask.nii,,,first", "that of row 1"),
        ("scan.nii,1:5,1:5,1,,,,", "it has 8 values for 6 columns; put a box in quotes"),
    ],
)
def test_a_row_that_is_wrong_says_why_and_spoils_no_other(tmp_path, line, said):
    text = f"image,box,mask,previous,label,name\nscan.nii,,mask.nii,,,first\n{line}\nscan.nii,,mask.nii,,3,last\n"
    first, wrong, last = read_table(table(tmp_path, text))
    assert not (first.problem)
    assert not (last.problem)
    assert said in wrong.problem
    assert wrong.number == 2
    assert "/" not in wrong.name
    assert wrong.name not in (first.name, last.name)


def test_a_box_as_a_list_in_json_is_refused_by_name(tmp_path):
    (row,) = read_table(table(tmp_path, '[{"image": "a.nii", "box": [[1, 5], [1, 5], 1]}]', "table.json"))
    assert "its box is [[1, 5], [1, 5], 1]; give a text" in row.problem


@pytest.mark.parametrize(
    ("text", "name", "kind", "said"),
    [
        ("image,box\n", "t.csv", InvalidInput, "has no rows"),
        ("", "t.csv", InvalidInput, "has no rows"),
        ("image,bax\na.nii,1\n", "t.csv", InvalidInput, "a column 'bax'; known are image, box,"),
        ("box\n1\n", "t.csv", InvalidInput, "no column image"),
        ("image,image\na.nii,b.nii\n", "t.csv", InvalidInput, "'image' twice"),
        (b"image\n\xff\xfe\n", "t.csv", DamagedFile, "no text in UTF-8"),
        ('image\n"a.nii\n', "t.csv", DamagedFile, "is no CSV, in line"),
        ("{", "t.json", DamagedFile, "is not JSON"),
        ('{"image": "a.nii"}', "t.json", DamagedFile, "must be a list of rows"),
    ],
)
def test_what_is_no_table_is_refused(tmp_path, text, name, kind, said):
    with pytest.raises(kind, match=said.replace("{", r"\{")):
        read_table(table(tmp_path, text, name))


def test_a_table_that_is_not_there(tmp_path):
    with pytest.raises(MissingFile, match="no table"):
        read_table(tmp_path / "none.csv")


def test_no_file_is_called_what_a_spreadsheet_computes():
    """A scan that somebody called so was a formula in results.csv for whoever opened it."""
    name = '=HYPERLINK("http://evil")'
    entry = {"row": 1, "name": "+1", "given": {"image": name}, "sentence": f"{name} is damaged.", "voxels": -3}
    row = next(csv.DictReader(io.StringIO(run._csv([entry]))))
    assert (row["image"], row["sentence"]) == (f"./{name}", f" {name} is damaged.")
    assert (row["name"], row["voxels"]) == (" +1", "-3")
