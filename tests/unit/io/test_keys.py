"""Key files: made for one user, read with care, and shown to nobody."""

from __future__ import annotations

import os
import pickle
from pathlib import Path

import pytest

from zgen.exceptions import KeyFileError
from zgen.io import keys
from zgen.io.keys import ClusterKey
from zgen.limits import KEY_BYTES

SECRET = bytes(range(KEY_BYTES))


def same(one: ClusterKey, other: ClusterKey) -> bool:
    return one.derive(b"test") == other.derive(b"test")


@pytest.fixture
def path(tmp_path: Path) -> str:
    return str(tmp_path / "key")


def test_a_key_that_was_written_is_read_back(path: str) -> None:
    key = keys.generate()
    old = os.umask(0)
    try:
        key.write(path)
    finally:
        os.umask(old)
    assert os.stat(path).st_mode & 0o777 == 0o600
    assert same(keys.load(path), key)
    assert not same(keys.generate(), key)


def test_a_key_file_is_never_overwritten(path: str) -> None:
    keys.generate().write(path)
    before = Path(path).read_bytes()
    with pytest.raises(KeyFileError, match="exists already"):
        keys.generate().write(path)
    assert Path(path).read_bytes() == before


def test_a_key_is_not_written_through_a_link(path: str, tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to(path)
    with pytest.raises(KeyFileError):
        keys.generate().write(str(tmp_path / "link"))
    assert not os.path.exists(path)


def test_a_folder_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(KeyFileError, match=r"nowhere/key cannot be used: No such file"):
        keys.generate().write(str(tmp_path / "nowhere" / "key"))


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o660, 0o610])
def test_a_key_that_others_may_use_is_refused(path: str, mode: int) -> None:
    keys.generate().write(path)
    os.chmod(path, mode)
    with pytest.raises(KeyFileError, match=f"its mode is {mode:o}"):
        keys.load(path)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give a file away")
def test_a_key_of_another_user_is_refused(path: str) -> None:
    keys.generate().write(path)
    os.chown(path, 65534, -1)
    with pytest.raises(KeyFileError, match="belongs to user 65534"):
        keys.load(path)


@pytest.mark.parametrize(
    ("text", "says"),
    [
        (b"", "holds 0 bytes"),
        (SECRET[:-1].hex().encode(), "holds 31 bytes"),
        (SECRET.hex().encode() + b"00", "holds 33 bytes"),
        (SECRET.hex().encode() + b" " + SECRET.hex().encode()[:4], "not written by"),
        (SECRET.hex().encode() + b"\n" + SECRET.hex().encode(), "not written by"),
        (b"\n".join([SECRET.hex().encode()] * 3), "not written by"),
        (SECRET.hex().encode() + b"\n" + SECRET.hex().encode() + b" soon", "does not say what"),
        (SECRET.hex().encode() + b"\n" + SECRET[1:].hex().encode() + b" next", "holds 31 bytes"),
        (b"x" * 64, "not written by `zgen keygen`"),
        (b"\xff" * 64, "not written by `zgen keygen`"),
        (SECRET, "not written by `zgen keygen`"),
    ],
)
def test_what_is_no_key_is_refused_without_being_shown(path: str, text: bytes, says: str) -> None:
    Path(path).write_bytes(text)
    os.chmod(path, 0o600)
    with pytest.raises(KeyFileError, match=says) as caught:
        keys.load(path)
    assert not text or text.decode("latin-1") not in str(caught.value)


def test_a_folder_a_pipe_and_nothing_are_no_keys(path: str, tmp_path: Path) -> None:
    with pytest.raises(KeyFileError, match="no file"):
        keys.load(str(tmp_path))
    with pytest.raises(KeyFileError, match="No such file"):
        keys.load(path)
    os.mkfifo(path, 0o600)
    with pytest.raises(KeyFileError, match="no file"):
        keys.load(path)


def test_the_command_line_goes_before_the_environment(
    path: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv(keys.KEY_VARIABLE, raising=False)
    assert keys.load_given(None) is None
    first, second = keys.generate(), keys.generate()
    first.write(path)
    second.write(str(tmp_path / "second"))
    monkeypatch.setenv(keys.KEY_VARIABLE, path)
    found = keys.load_given(None)
    assert found is not None
    assert same(found, first)
    found = keys.load_given(str(tmp_path / "second"))
    assert found is not None
    assert same(found, second)


def test_a_key_shows_nothing_of_itself() -> None:
    key = ClusterKey(SECRET)
    assert repr(key) == str(key) == f"{key}" == "ClusterKey(...)"
    with pytest.raises(TypeError, match="does not leave its process"):
        pickle.dumps(key)
    assert not hasattr(key, "__dict__")


def test_a_key_has_its_length_and_each_purpose_bytes_of_its_own() -> None:
    with pytest.raises(ValueError, match="got 31"):
        ClusterKey(SECRET[:-1])
    key = ClusterKey(SECRET)
    assert key.derive(b"one") == ClusterKey(SECRET).derive(b"one")
    assert len({key.derive(b"one"), key.derive(b"two"), SECRET}) == 3


def test_a_key_is_replaced_in_three_steps_and_none_is_done_twice_or_left_out(path: str) -> None:
    old = keys.generate()
    old.write(path)
    steps = {
        "add": ClusterKey.with_next,
        "promote": ClusterKey.promoted,
        "retire": ClusterKey.retired,
    }
    prints = [keys.load(path).prints()]
    for name, step in steps.items():
        for other, wrong in steps.items():
            if other != name:
                before = Path(path).read_bytes()
                with pytest.raises(KeyFileError, match="it holds"):
                    keys.change(path, wrong)
                assert Path(path).read_bytes() == before
        prints.append(keys.change(path, step).prints())
        assert keys.load(path).prints() == prints[-1]
        assert os.stat(path).st_mode & 0o777 == 0o600
    (first,), added, promoted, (last,) = prints
    assert added == (first, last)
    assert promoted == (last, first)
    assert first != last
    assert not same(keys.load(path), old)
    assert os.listdir(os.path.dirname(path)) == ["key"]


def test_a_key_that_is_reached_by_a_link_is_replaced_where_it_lies(
    path: str, tmp_path: Path
) -> None:
    keys.generate().write(path)
    link = tmp_path / "link"
    link.symlink_to(path)
    keys.change(str(link), ClusterKey.with_next)
    assert link.is_symlink()
    assert len(keys.load(path).prints()) == 2


def test_a_key_that_cannot_be_replaced_is_left_as_it_is(tmp_path: Path) -> None:
    folder = tmp_path / "folder"
    folder.mkdir()
    with pytest.raises(KeyFileError, match="Is a directory"):
        keys.generate().replace(str(folder))
    assert os.listdir(tmp_path) == ["folder"]


def test_a_second_key_has_its_length_and_says_what_it_is() -> None:
    with pytest.raises(ValueError, match="got 31"):
        ClusterKey(SECRET, SECRET[1:], keys.NEXT)
    for other, stage in ((SECRET, ""), (None, keys.NEXT), (SECRET, "soon")):
        with pytest.raises(ValueError, match="no such stage"):
            ClusterKey(SECRET, other, stage)
    both = ClusterKey(SECRET, SECRET[::-1], keys.NEXT)
    assert [each.prints()[0] for each in both.each()] == list(both.prints())
    assert SECRET.hex()[:8] not in both.prints()
    assert repr(both) == "ClusterKey(...)"
