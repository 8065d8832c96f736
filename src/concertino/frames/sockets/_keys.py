"""Keys with which frame streams are encrypted and both ends know each other: ZeroMQ's CURVE.

The cryptography and the format of the files are ZeroMQ's; see RFC 26, https://rfc.zeromq.org/spec/26.
"""

from __future__ import annotations

import os
import stat
from dataclasses import dataclass
from pathlib import Path

import zmq
import zmq.auth
from zmq.utils import z85

from concertino._errors import FrameStreamError

#: Names the folder of keys that a process uses.
KEYS_VARIABLE = "CONCERTINO_KEYS"
_ALLOWED = "allowed"


@dataclass(frozen=True)
class Keys:
    """The keys in one folder.

    Attributes
    ----------
    folder : Path
        Where they are.
    name : str
        Of the own pair.
    public, secret : bytes
        The own pair, 40 characters of Z85 each.
    allowed : frozenset of bytes
        Public keys of those who may subscribe here, and whom one may subscribe to.
    """

    folder: Path
    name: str
    public: bytes
    secret: bytes
    allowed: frozenset[bytes]

    @property
    def fingerprint(self) -> str:
        """The own public key as addresses show it, 64 hexadecimal digits."""
        return fingerprint(self.public)

    @property
    def allowed_folder(self) -> Path:
        """Where the public keys of the others are."""
        return self.folder / _ALLOWED

    def serve(self, socket: zmq.Socket[bytes]) -> None:
        """Have a socket that will listen admit only those who are allowed."""
        socket.curve_secretkey = self.secret
        socket.curve_publickey = self.public
        socket.curve_server = True
        socket.setsockopt_string(zmq.ZAP_DOMAIN, str(self.folder))

    def connect(self, socket: zmq.Socket[bytes], server: str, address: str) -> None:
        """Have a socket that will connect speak only to the owner of one key.

        Parameters
        ----------
        socket : zmq.Socket
            Not yet connected.
        server : str
            The publisher's public key, 64 hexadecimal digits, out of its address.
        address : str
            For messages.

        Raises
        ------
        FrameStreamError
            If that key is not among those allowed.
        """
        try:
            key = z85.encode(bytes.fromhex(server))
        except (ValueError, TypeError):
            key = b""
        if key not in self.allowed:
            raise FrameStreamError(
                f"The publisher of frame stream {address} has the public key {server[:12]}…, which "
                f"is not among those in {self.allowed_folder}. If you trust it, copy its .key file "
                f"here and run: concertino keys allow {self.folder} FILE."
            )
        socket.curve_secretkey = self.secret
        socket.curve_publickey = self.public
        socket.curve_serverkey = key

    def refused(self, address: str) -> str:
        """Return the sentence for a publisher that does not allow the own key."""
        return (
            f"The publisher of frame stream {address} does not allow the key {self.name!r} "
            f"({self.fingerprint[:12]}…) of {self.folder}. Have {self.name}.key copied to its computer, "
            "and run there: concertino keys allow FOLDER FILE. Its next stream allows it."
        )


def fingerprint(public: bytes) -> str:
    """Return a public key (Z85) as hexadecimal digits."""
    return bytes(z85.decode(public)).hex()


def make_keys(folder: Path, name: str) -> Keys:
    """Make a pair of keys in a folder; the secret one is readable by its owner only.

    Parameters
    ----------
    folder : Path
        Made when it is not there.
    name : str
        Of the computer or person that the pair stands for.

    Raises
    ------
    FrameStreamError
        If there is a pair already, or the folder cannot be written.
    """
    if not name or not all(c.isalnum() or c in "-_." for c in name) or name.startswith("."):
        raise FrameStreamError(
            f"A pair of keys cannot be called {name!r}; use letters, digits, - _ and ."
        )
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        there = sorted(folder.glob("*.key_secret"))
        if there:
            raise FrameStreamError(
                f"There is a secret key {there[0]} already. Who knows its public half trusts it: "
                "remove it by hand if it must be replaced."
            )
        (folder / _ALLOWED).mkdir(mode=0o700, exist_ok=True)
        mask = os.umask(0o077)
        try:
            public_file, _ = zmq.auth.create_certificates(folder, name)
        finally:
            os.umask(mask)
        Path(public_file).chmod(0o644)
        # Subscribers on the same computer belong to the same owner.
        _allow(folder, Path(public_file))
    except OSError as error:
        raise FrameStreamError(
            f"Keys cannot be made in {folder}: {error.strerror}. Choose another folder, or change "
            "its permissions."
        ) from error
    return load_keys(folder)


def allow_key(folder: Path, file: Path) -> str:
    """Let the owner of a public key subscribe, and be subscribed to; return the key's fingerprint.

    Raises
    ------
    FrameStreamError
        If the file has no public key, or a secret one, or another of its name is there.
    """
    load_keys(folder)
    public, secret = _read(file)
    if secret is not None:
        raise FrameStreamError(
            f"{file} has a secret key, which must not leave the computer that it was made on. Take the "
            "file of the same name that ends in .key."
        )
    target = folder / _ALLOWED / f"{file.stem}.key"
    if target.exists() and _read(target)[0] != public:
        raise FrameStreamError(
            f"{target} has another public key. Remove it if it is out of date, or rename {file}."
        )
    _allow(folder, file)
    return fingerprint(public)


def load_keys(folder: Path) -> Keys:
    """Return the keys of a folder that `make_keys` made.

    Raises
    ------
    FrameStreamError
        If there is no pair, more than one, or others than its owner can read the secret key.
    """
    secrets = sorted(folder.glob("*.key_secret"))
    if len(secrets) != 1:
        raise FrameStreamError(
            f"{folder} has {len(secrets)} files *.key_secret instead of one. Run: concertino keys make "
            f"{folder}"
        )
    (file,) = secrets
    status = file.stat()
    if status.st_uid != os.geteuid() or stat.S_IMODE(status.st_mode) & 0o077:
        raise FrameStreamError(
            f"Others can read the secret key {file} (mode {stat.S_IMODE(status.st_mode):03o}). If nobody "
            f"has, run: chmod 600 {file}; else remove it and make new keys."
        )
    public, secret = _read(file)
    if secret is None:
        raise FrameStreamError(f"{file} has no secret key; make new keys.")
    allowed = frozenset(_read(path)[0] for path in sorted((folder / _ALLOWED).glob("*.key")))
    return Keys(folder, file.stem, public, secret, allowed)


def process_keys() -> Keys | None:
    """Return the keys that the environment variable CONCERTINO_KEYS names, or None.

    Raises
    ------
    FrameStreamError
        As `load_keys` does.
    """
    folder = os.environ.get(KEYS_VARIABLE, "")
    return load_keys(Path(folder).expanduser().absolute()) if folder else None


def key_fingerprint(file: Path) -> str:
    """Return the public key in a file as hexadecimal digits.

    Raises
    ------
    FrameStreamError
        If there is none in it.
    """
    return fingerprint(_read(file)[0])


def _read(file: Path) -> tuple[bytes, bytes | None]:
    try:
        public, secret = zmq.auth.load_certificate(file)
        z85.decode(public)
    except OSError as error:
        raise FrameStreamError(
            f"The key file {file} cannot be read: {error}. Check its permissions, or copy it again."
        ) from error
    except (ValueError, KeyError) as error:
        raise FrameStreamError(
            f"{file} is no key file: {error}. Make new keys, or copy the file again."
        ) from error
    if len(public) != 40:
        raise FrameStreamError(
            f"{file} is no key file: its public key has not 40 characters. Make new keys, or copy "
            "the file again."
        )
    return public, secret


def _allow(folder: Path, file: Path) -> None:
    target = folder / _ALLOWED / f"{file.stem}.key"
    target.write_bytes(file.read_bytes())
