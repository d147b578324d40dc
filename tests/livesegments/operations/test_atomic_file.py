"""Files appear complete; where they cannot be written, the error says so."""

import os
from pathlib import Path

import pytest

from livesegments.operations.atomic_file import replacing, unwritable


def test_a_file_is_replaced_when_it_is_whole(tmp_path: Path) -> None:
    path = tmp_path / "page.html"
    path.write_text("old")
    with replacing(path) as unfinished:
        unfinished.write_text("new")
        assert path.read_text() == "old"
    assert path.read_text() == "new"
    assert list(tmp_path.iterdir()) == [path]


def test_a_failure_leaves_the_old_file_and_nothing_else(tmp_path: Path) -> None:
    path = tmp_path / "page.html"
    path.write_text("old")

    def write_half() -> None:
        with replacing(path) as unfinished:
            unfinished.write_text("half")
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        write_half()
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


def test_two_who_write_the_same_file_do_not_meet(tmp_path: Path) -> None:
    path = tmp_path / "page.html"
    with replacing(path) as first:
        first.write_text("first")
        with replacing(path) as second:
            second.write_text("second")
    assert path.read_text() == "first"


def test_a_link_stays_and_what_it_leads_to_is_replaced(tmp_path: Path) -> None:
    path, link = tmp_path / "page.html", tmp_path / "latest.html"
    link.symlink_to(path)
    with replacing(link) as unfinished:
        unfinished.write_text("new")
    assert link.is_symlink()
    assert path.read_text() == "new"


def test_what_is_no_file_is_written_to_as_it_is() -> None:
    null = Path(os.devnull)
    assert unwritable(null) is None
    with replacing(null) as unfinished:
        assert unfinished == null


def test_a_place_where_no_file_can_be_is_told(tmp_path: Path) -> None:
    assert unwritable(tmp_path / "page.html") is None
    assert unwritable(tmp_path) == f"{tmp_path} is a folder: name a file"
    gone = tmp_path / "gone"
    assert unwritable(gone / "page.html") == f"{gone / 'page.html'}: there is no folder {gone}"


def test_a_folder_that_takes_no_file_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tmp_path.chmod(0o500)
    if os.geteuid() == 0:  # root may write everywhere except on read-only mounts
        monkeypatch.setattr(os, "access", lambda *_: False)
    assert unwritable(tmp_path / "page.html") == (
        f"{tmp_path / 'page.html'}: {tmp_path} is not writable"
    )
