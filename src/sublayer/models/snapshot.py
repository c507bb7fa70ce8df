"""Models by their names on the Hugging Face hub."""

from __future__ import annotations

import re
from pathlib import Path

WANTED = ["*.safetensors", "*.json", "*.model", "*.spm", "*.txt"]
"""What is fetched: no pickle, unless it is asked for."""
PICKLES = "pytorch_model*.bin"
NAME = re.compile(r"[\w-][\w.-]*/[\w-][\w.-]*")


def local_folder(source: Path, *, pickle: bool = False) -> Path:
    """The folder itself, or that of the hub's model of this name (`org/name`), fetched once.

    Raises:
        ValueError: it is no folder, and the hub has no such model or cannot be reached; or what it
            has is a pickle, and that is not asked for.
    """
    name = source.as_posix()
    if source.exists() or not NAME.fullmatch(name):
        return source
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import HfHubHTTPError, LocalEntryNotFoundError

    try:
        wanted = [*WANTED, PICKLES] if pickle else WANTED
        folder = Path(snapshot_download(name, allow_patterns=wanted))
    except LocalEntryNotFoundError:
        raise ValueError(
            f"{name} is no folder here, and the Hugging Face hub cannot be reached to fetch it; "
            "give the folder of a model, or go online"
        ) from None
    except (HfHubHTTPError, OSError) as error:
        told = str(error).strip().splitlines()[0]
        raise ValueError(
            f"{name} is no folder here, nor a model of the Hugging Face hub: {told}"
        ) from None
    if not pickle and not any(folder.rglob("*.safetensors")):
        raise ValueError(
            f"{name} has no safetensors on the hub, at most a pickle; "
            f"`sublayer convert {name} NEW --pickle` fetches that and reads nothing but tensors"
        )
    return folder
