"""Where a Hugging Face model lies: a directory, a folder of the data directory, or the hub."""

from collections.abc import Sequence
from pathlib import Path

from vocablab.base.errors import UserError


def model_directory(name: str, revision: str, data: Path | None, wanted: Sequence[str], flag: str) -> Path:
    """The directory of a model, downloaded from the hub if it is not here.

    Args:
        name: path, folder of the data directory, or ``owner/name`` on the hub.
        revision: commit or branch on the hub.
        data: the data directory, or None.
        wanted: patterns of the files to download.
        flag: what the user wrote before the name, for the sentence of an error.

    Raises:
        UserError: if it is nowhere.
    """
    for local in (Path(name).expanduser(), *([data / name] if data is not None else [])):
        if (local / "config.json").exists():
            return local
    try:
        import huggingface_hub

        return Path(huggingface_hub.snapshot_download(name, revision=revision, allow_patterns=list(wanted)))
    except Exception as error:  # the hub's client has dozens of errors, and the user can only do one thing
        place = f", nor a folder {name} in {data}" if data is not None else ""
        raise UserError(
            f"{flag} {name}: there is no directory {name} with a config.json{place}, and the Hugging Face hub "
            f"did not give it ({type(error).__name__})."
        ) from None
