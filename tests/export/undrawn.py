"""Pictures that are there and show nothing: drawing takes seconds, where something else is looked at."""

from timbrel.export.reports.report import THEMES, Picture


def undrawn(patch):
    """Have files of pictures appear without a drawing in them."""

    def touch(drawn, folder):
        for suffix in THEMES:
            (folder / f"{drawn.name}{suffix}.png").touch()

    patch.setattr(Picture, "save", touch)
