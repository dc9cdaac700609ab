"""Tables as texts: the delimiter that fits all rows, encodings, ends of lines, and the names of columns."""

from __future__ import annotations

from pathlib import Path

import pytest

from lmd.data.dataset.reading.tables import read_table
from lmd.errors import DataError


def text(tmp_path: Path, content: str) -> Path:
    (tmp_path / "cases.csv").write_text(content)
    return tmp_path / "cases.csv"


@pytest.mark.parametrize(
    ("content", "columns"),
    [
        ("image;a,b;label\n1;2,5;x\n2;3,5;y\n", ["image", "a,b", "label"]),
        ("image;size, mm;label\n1;2;x\n2;3;y\n", ["image", "size, mm", "label"]),
        ("image,note;free,label\n1,a;b;c,x\n2,d,y\n", ["image", "note;free", "label"]),
        ("image\tlabel, in words\n1\tx, y\n2\tz\n", ["image", "label, in words"]),
        ("a|b,c,d|e\n1|2|3\n4|5,6|7\n", ["a", "b,c,d", "e"]),
        ('image;"a;b,c,d"\n1;"2;3"\n2;x\n', ["image", "a;b,c,d"]),
    ],
)
def test_the_delimiter_is_the_one_that_fits_every_row(
    tmp_path: Path, content: str, columns: list[str]
) -> None:
    assert list(read_table(text(tmp_path, content)).columns) == columns


@pytest.mark.parametrize(
    ("word", "mark"), [("tab", "\t"), ("semicolon", ";"), (":", ":"), ("space", " "), ("\\t", "\t")]
)
def test_a_delimiter_may_be_named(tmp_path: Path, word: str, mark: str) -> None:
    path = text(tmp_path, f"image{mark}label\n1{mark}x\n2{mark}y\n")
    assert list(read_table(path, delimiter=word).columns) == ["image", "label"]


@pytest.mark.parametrize("word", ["", "ab", '"', "\n"])
def test_what_is_no_delimiter_is_refused(tmp_path: Path, word: str) -> None:
    with pytest.raises(DataError, match="must be one character, or tab"):
        read_table(text(tmp_path, "a,b\n1,2\n"), delimiter=word)


def test_a_row_of_another_length_is_named_with_the_way_out(tmp_path: Path) -> None:
    with pytest.raises(
        DataError, match=r"3 fields in row 3, its header has 2; fields with a delimiter in them need quotes"
    ):
        read_table(text(tmp_path, "image,label\n1,a\n2,b,c\n"))
    with pytest.raises(DataError, match=r"1 fields in row 3, .*it looks like a comment: delete it"):
        read_table(text(tmp_path, "image,label\n1,a\n# end of part one\n2,b\n"))


MARKED = "image,label\nä.png,a\nb.png,b\n"


@pytest.mark.parametrize("named", [None, "utf-8", "utf-8-sig", "utf-16", "utf-16-le", "utf-16-be", "cp1252"])
@pytest.mark.parametrize(
    "written_as", ["utf-8-sig", "utf-16", "utf-16-le", "utf-16-be", "utf-32", "utf-32-le", "utf-32-be"]
)
def test_a_byte_order_mark_wins_over_every_name(tmp_path: Path, written_as: str, named: str | None) -> None:
    marked = MARKED if written_as in ("utf-8-sig", "utf-16", "utf-32") else "\ufeff" + MARKED
    (tmp_path / "cases.csv").write_bytes(marked.encode(written_as))
    assert read_table(tmp_path / "cases.csv", encoding=named)["image"].tolist() == ["ä.png", "b.png"]


def test_marks_within_files_that_were_put_together_are_removed(tmp_path: Path) -> None:
    assert read_table(text(tmp_path, "\ufeffimage,label\n\ufeffx,a\n"))["image"].tolist() == ["x"]


def test_a_mark_that_does_not_fit_gives_way_to_the_named_encoding(tmp_path: Path) -> None:
    (tmp_path / "cases.csv").write_bytes(b"\xef\xbb\xbf" + MARKED.encode("cp1252"))
    assert read_table(tmp_path / "cases.csv", encoding="cp1252")["image"][2] == "ä.png"


@pytest.mark.parametrize("encoding", ["klingon", "hex", "\0"])
def test_what_is_no_encoding_is_refused(tmp_path: Path, encoding: str) -> None:
    with pytest.raises(DataError, match="unknown encoding"):
        read_table(text(tmp_path, MARKED), encoding=encoding)


@pytest.mark.parametrize("end", ["\x1a", "\x1a\r\n", "\n\n"])
@pytest.mark.parametrize("line_end", ["\n", "\r\n", "\r"])
def test_ends_of_lines_and_of_the_file(tmp_path: Path, line_end: str, end: str) -> None:
    (tmp_path / "cases.csv").write_bytes(("image,label\nx,a\ny,b\n".replace("\n", line_end) + end).encode())
    assert read_table(tmp_path / "cases.csv").to_numpy().tolist() == [["x", "a"], ["y", "b"]]


def test_names_of_columns_are_one_line(tmp_path: Path) -> None:
    assert list(read_table(text(tmp_path, '"patient\n id ",label\n1,a\n2,b\n')).columns) == [
        "patient id",
        "label",
    ]


def test_any_number_of_blanks_is_one_delimiter(tmp_path: Path) -> None:
    path = text(tmp_path, 'image     label \r\n x00.png  a\r\nx01.png   "b c"\r\n')
    assert read_table(path, delimiter="space").to_numpy().tolist() == [["x00.png", "a"], ["x01.png", "b c"]]


def test_blanks_may_stand_before_a_quote(tmp_path: Path) -> None:
    path = text(tmp_path, 'image, label, note\nx, a, "b, c"\ny, b, d\n')
    assert read_table(path)["note"].tolist() == ["b, c", "d"]


def test_ids_of_covidx_without_a_header_are_found_with_blanks(tmp_path: Path) -> None:
    path = text(tmp_path, "379 1e64_jumbo.jpeg negative cohen\n380 sars.jpg positive cohen\n")
    with pytest.raises(DataError, match=r"only one column .*--delimiter space"):
        read_table(path)
    with pytest.raises(DataError, match=r"no header: .*\('1e64_jumbo.jpeg'\)"):
        read_table(path, delimiter="space")


@pytest.mark.parametrize(
    "content",
    [
        "Bild,Diagnose,biopsie\nx00,a,biopsie\nx01,b,keine\n",
        "image,label,benign\nx00,benign,benign\nx01,b,benign\n",
        "case,2019,2020\n1,1200,1300\n2,1100,1000\n",
    ],
)
def test_a_header_may_share_a_word_with_its_column(tmp_path: Path, content: str) -> None:
    assert len(read_table(text(tmp_path, content))) == 2
