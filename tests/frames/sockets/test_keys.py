"""Frame streams over TCP that are encrypted with keys: who gets in, and what the others are told."""

import logging
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from concertino import FrameStreamError
from concertino.frames import (
    KEYS_VARIABLE,
    FrameStream,
    Keys,
    Ring,
    _direct,
    allow_key,
    load_keys,
    make_keys,
    subscribe,
)
from tests.frames.contract.readers import Reader, numbered_frames
from tests.frames.line import Line

SHAPE = (8, 16)


@pytest.fixture
def camera_keys(tmp_path: Path) -> Keys:
    return make_keys(tmp_path / "camera", "camera")


@pytest.fixture
def writer_keys(tmp_path: Path) -> Keys:
    return make_keys(tmp_path / "writer", "writer")


def use(monkeypatch: pytest.MonkeyPatch, keys: Keys | None) -> None:
    if keys is None:
        monkeypatch.delenv(KEYS_VARIABLE, raising=False)
    else:
        monkeypatch.setenv(KEYS_VARIABLE, str(keys.folder))


def exchange(one: Keys, other: Keys) -> None:
    allow_key(one.folder, other.folder / f"{other.name}.key")
    allow_key(other.folder, one.folder / f"{one.name}.key")


def new_stream() -> FrameStream:
    stream = FrameStream(shape=SHAPE, dtype="u2", timeout_s=5.0, ring=Ring(SHAPE, "u2", 2**28))
    _direct.hide(stream)
    return stream


def test_frames_pass_between_two_who_allow_each_other(
    camera_keys: Keys, writer_keys: Keys, monkeypatch: pytest.MonkeyPatch
) -> None:
    exchange(camera_keys, writer_keys)
    use(monkeypatch, camera_keys)
    with new_stream() as stream:
        assert stream.address.endswith(f"#{camera_keys.fingerprint}")
        use(monkeypatch, writer_keys)
        with Reader(stream.address) as reader:
            stream.publish(numbered_frames(0, 50, SHAPE))
            stream.end().check()
        assert reader.count == 50


def test_frames_pass_within_one_computer(
    camera_keys: Keys, monkeypatch: pytest.MonkeyPatch
) -> None:
    use(monkeypatch, camera_keys)
    with new_stream() as stream, Reader(stream.address) as reader:
        stream.publish(numbered_frames(0, 3, SHAPE))
        stream.end().check()
    assert reader.count == 3


def test_a_key_that_the_publisher_does_not_allow_is_refused_at_once(
    camera_keys: Keys, writer_keys: Keys, monkeypatch: pytest.MonkeyPatch
) -> None:
    allow_key(writer_keys.folder, camera_keys.folder / "camera.key")
    use(monkeypatch, camera_keys)
    with new_stream() as stream:
        use(monkeypatch, writer_keys)
        with pytest.raises(FrameStreamError, match=r"does not allow the key 'writer'.*keys allow"):
            subscribe(stream.address, name="writer", timeout_s=30.0)


def test_a_publisher_that_one_does_not_know_is_not_spoken_to(
    camera_keys: Keys, writer_keys: Keys, monkeypatch: pytest.MonkeyPatch
) -> None:
    use(monkeypatch, camera_keys)
    with new_stream() as stream:
        use(monkeypatch, writer_keys)
        with pytest.raises(FrameStreamError, match=r"not among those in .*writer/allowed"):
            subscribe(stream.address, name="writer")


def test_without_keys_an_encrypted_stream_is_explained(
    camera_keys: Keys, monkeypatch: pytest.MonkeyPatch
) -> None:
    use(monkeypatch, camera_keys)
    with new_stream() as stream:
        use(monkeypatch, None)
        with pytest.raises(FrameStreamError, match=r"is encrypted\. Set the .* CONCERTINO_KEYS"):
            subscribe(stream.address, name="writer")
        plain = stream.address.partition("#")[0]
        with pytest.raises(
            FrameStreamError, match=r"encrypts, but the address has no key\. Use the"
        ):
            subscribe(plain, name="writer", timeout_s=30.0)


def test_a_publisher_without_keys_is_told_from_one_that_has_them(
    camera_keys: Keys, writer_keys: Keys, monkeypatch: pytest.MonkeyPatch
) -> None:
    exchange(camera_keys, writer_keys)
    use(monkeypatch, None)
    with new_stream() as stream:
        use(monkeypatch, writer_keys)
        address = f"{stream.address}#{camera_keys.fingerprint}"
        with pytest.raises(
            FrameStreamError, match=r"does not encrypt, though the address has a key"
        ):
            subscribe(address, name="writer", timeout_s=30.0)


def test_a_publisher_whose_key_is_another_is_told(
    camera_keys: Keys, writer_keys: Keys, monkeypatch: pytest.MonkeyPatch
) -> None:
    exchange(camera_keys, writer_keys)
    use(monkeypatch, writer_keys)
    with new_stream() as stream:
        address = f"{stream.address.partition('#')[0]}#{camera_keys.fingerprint}"
        with pytest.raises(FrameStreamError, match=r"its key is not the one in the address"):
            subscribe(address, name="writer", timeout_s=1.0)


def test_what_crosses_the_line_cannot_be_read(
    camera_keys: Keys, monkeypatch: pytest.MonkeyPatch
) -> None:
    use(monkeypatch, camera_keys)
    with new_stream() as stream:
        heard: list[bytes] = []
        line = Line(stream.address, heard)
        with Reader(line.address) as reader:
            frames = numbered_frames(0, 4, SHAPE)
            stream.publish(frames)
            stream.end().check()
        line.close()
        assert reader.count == 4
        carried = b"".join(heard)
        assert len(carried) > frames.nbytes
        assert b"acknowledge" not in carried
        assert frames[3].tobytes()[:32] not in carried


def test_a_plain_stream_beyond_this_computer_is_warned_of(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    use(monkeypatch, None)
    with (
        caplog.at_level(logging.WARNING),
        FrameStream("tcp://*:0", shape=SHAPE, dtype="u2"),
    ):
        assert "can be read by anybody" in caplog.text


def test_keys_ask_for_encryption_beyond_this_computer(
    camera_keys: Keys, monkeypatch: pytest.MonkeyPatch
) -> None:
    use(monkeypatch, camera_keys)
    with pytest.raises(FrameStreamError, match="is not encrypted"):
        subscribe("tcp://detector.example:5000/darks", name="writer")


def test_only_the_owner_reads_the_secret_key(camera_keys: Keys) -> None:
    secret = camera_keys.folder / "camera.key_secret"
    assert secret.stat().st_mode & 0o777 == 0o600
    assert camera_keys.folder.stat().st_mode & 0o777 == 0o700
    secret.chmod(0o640)
    with pytest.raises(FrameStreamError, match=r"Others can read .*mode 640.*chmod 600"):
        load_keys(camera_keys.folder)


def test_keys_are_not_replaced(camera_keys: Keys, writer_keys: Keys, tmp_path: Path) -> None:
    with pytest.raises(FrameStreamError, match=r"camera\.key_secret already"):
        make_keys(camera_keys.folder, "other")
    with pytest.raises(FrameStreamError, match="has a secret key, which must not leave"):
        allow_key(camera_keys.folder, writer_keys.folder / "writer.key_secret")
    other = make_keys(tmp_path / "other", "camera")
    with pytest.raises(FrameStreamError, match="has another public key"):
        allow_key(camera_keys.folder, other.folder / "camera.key")


def test_damaged_keys_are_told(camera_keys: Keys, tmp_path: Path) -> None:
    broken = tmp_path / "broken.key"
    broken.write_text("nothing")
    with pytest.raises(FrameStreamError, match=r"broken\.key is no key file"):
        allow_key(camera_keys.folder, broken)
    with pytest.raises(FrameStreamError, match="cannot be read"):
        allow_key(camera_keys.folder, tmp_path / "missing.key")
    with pytest.raises(FrameStreamError, match=r"has 0 files \*\.key_secret"):
        load_keys(tmp_path)
    with pytest.raises(FrameStreamError, match="cannot be called"):
        make_keys(tmp_path / "new", "../elsewhere")


def test_the_command_makes_and_exchanges_keys(tmp_path: Path) -> None:
    def run(*arguments: str) -> str:
        done = subprocess.run(
            [sys.executable, "-c", "from concertino.cli import main; main()", "keys", *arguments],
            capture_output=True,
            text=True,
            env={**os.environ, "TERM": "dumb"},
        )
        return done.stdout + done.stderr

    one, other = str(tmp_path / "one"), str(tmp_path / "other")
    assert f"export CONCERTINO_KEYS={one}" in run("make", one, "--name", "camera")
    run("make", other, "--name", "writer")
    shutil.copy(f"{other}/writer.key", tmp_path)
    assert "writer (" in run("allow", one, str(tmp_path / "writer.key"))
    shown = run("show", one).splitlines()
    assert [line.split()[::2] for line in shown] == [
        ["own", "camera"],
        ["allowed", "camera"],
        ["allowed", "writer"],
    ]
    assert "already" in run("make", one)
