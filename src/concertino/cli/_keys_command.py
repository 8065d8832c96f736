"""What ``concertino keys …`` does."""

import socket
from pathlib import Path
from typing import Annotated

import typer

keys = typer.Typer(
    help="Make and exchange the keys that encrypt frame streams between computers.",
    no_args_is_help=True,
)

Folder = Annotated[Path, typer.Argument(help="Folder of the keys of this computer or person.")]


@keys.command()
def make(
    folder: Folder,
    name: Annotated[str, typer.Option(help="Whom the pair stands for; this computer.")] = "",
) -> None:
    """Make a pair of keys: NAME.key is for the others, NAME.key_secret stays here."""
    from concertino.frames import KEYS_VARIABLE, make_keys

    made = make_keys(folder, name or socket.gethostname().partition(".")[0])
    typer.echo(f"Public key: {folder / made.name}.key ({made.fingerprint[:12]}…)")
    typer.echo(f"Secret key: {folder / made.name}.key_secret (only you can read it; never copy it)")
    typer.echo(f"To use them: export {KEYS_VARIABLE}={folder.absolute()}")


@keys.command()
def allow(
    folder: Folder,
    files: Annotated[list[Path], typer.Argument(help="Public keys, *.key, of others.")],
) -> None:
    """Let the owners of public keys subscribe to this computer's streams, and trust theirs."""
    from concertino.frames import allow_key

    for file in files:
        typer.echo(f"{file.stem} ({allow_key(folder, file)[:12]}…) is allowed.")


@keys.command()
def show(folder: Folder) -> None:
    """Show the own key and those allowed."""
    from concertino.frames import key_fingerprint, load_keys

    own = load_keys(folder)
    typer.echo(f"own      {own.fingerprint[:12]}…  {own.name}")
    for file in sorted(own.allowed_folder.glob("*.key")):
        typer.echo(f"allowed  {key_fingerprint(file)[:12]}…  {file.stem}")
