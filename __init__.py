"""timbrel turns recordings into playable instruments: host plays, train learns, export joins the two."""

__version__ = "0.1.0"
