"""Report files beside an instrument, for the frame of a page."""

import re
from pathlib import Path

from .page_files import PageFiles

NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}")
TYPES = {".html": "text/html", ".json": "application/json", ".png": "image/png", ".wav": "audio/wav"}
# The only script that runs is that of the ABX page: export/reports/templates/abx.js.
SCRIPT = "sha256-0jBClFWJyT/tzTs3tVL+7Y2Paq5x6t5gJgCZWyS674U="
POLICY = {
    "Content-Security-Policy": f"default-src 'none'; script-src '{SCRIPT}'; style-src 'unsafe-inline'; "
    "img-src 'self'; media-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'self'",
    "X-Frame-Options": "SAMEORIGIN",
}


class ReportFiles(PageFiles):
    def __init__(self, folder: Path | None, token: str) -> None:
        """``folder`` holds index.html; None without a report."""
        super().__init__("report", token, TYPES, POLICY)
        self._folder = folder

    def is_beside(self, model: Path | None) -> bool:
        if self._folder is None or model is None:
            return False
        return self._folder.parent.resolve() == model.parent.resolve()

    def path(self, name: str) -> Path | None:
        return self._folder / name if self._folder is not None and NAME.fullmatch(name) else None
