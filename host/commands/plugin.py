"""Commands to install, remove and check the DAW plugins."""

import typer

from .options import warn

commands = typer.Typer(rich_markup_mode=None)
plugin_commands = typer.Typer(rich_markup_mode=None, help="Play timbrel in a DAW, as an LV2, VST3 or CLAP instrument.")
commands.add_typer(plugin_commands, name="plugin")


@plugin_commands.command()
def install() -> None:
    """Put the plugins into your own plugin folders: ~/.lv2, ~/.vst3 and ~/.clap."""
    from ..config import own_folder
    from ..plugin.bundles import bundles, how_to_build, install

    installed_bundles = install()
    for bundle in installed_bundles:
        print(f"{bundle.format:<5} {bundle.installed}")
    for bundle in bundles():
        if bundle not in installed_bundles:
            warn([f"no {bundle.format} plugin is built: {how_to_build()}"])
    print("next: let your DAW look for new plugins; timbrel is among the instruments")
    print(f"your own presets: put them into {own_folder('presets')}, and run 'timbrel plugin install' again")


@plugin_commands.command()
def uninstall() -> None:
    """Take the plugins away that 'timbrel plugin install' put there."""
    from ..plugin.bundles import uninstall

    removed_bundles = uninstall()
    for bundle in removed_bundles:
        print(f"{bundle.format:<5} {bundle.installed} is removed")
    if not removed_bundles:
        print("no plugin was installed by 'timbrel plugin install'")


@plugin_commands.command()
def status() -> None:
    """List built and installed plugins, test their Python, and show their last messages."""
    from ..errors import printable
    from ..plugin.bundles import status

    for status_line in status():
        print(printable(status_line))
