"""Files of the last recording, for a page to download."""

from collections.abc import Collection
from pathlib import Path

from ..session.takes import FOLDER
from ..user_folders import own_folder
from .page_files import PageFiles

TYPES = {".wav": "audio/wav", ".mid": "audio/midi"}


class TakeFiles(PageFiles):
    def __init__(self, token: str) -> None:
        super().__init__("recording", token, TYPES, {"Content-Disposition": "attachment"})
        self.names: Collection[str] = ()

    def path(self, name: str) -> Path | None:
        return own_folder(FOLDER) / name if name in self.names else None
