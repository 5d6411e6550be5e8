import re
from pathlib import Path

import pytest
from timbrel.host import config
from timbrel.host.config import config_file, configured, own_folder
from timbrel.host.errors import UserError
from timbrel.host.preset.shipped import preset_file


@pytest.fixture
def file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "data"))
    (tmp_path / "config" / "timbrel").mkdir(parents=True)
    config._read.cache_clear()
    return config_file()


def test_without_a_file_nothing_is_configured(file: Path, tmp_path: Path) -> None:
    assert configured("play", "device") is None
    assert own_folder("presets") == tmp_path / "data" / "timbrel" / "presets"


def test_values_are_read(file: Path) -> None:
    file.write_text('[play]\ndevice = "USB"\nblock = 64\nmidi_port = ["Keys"]\nlowest_latency = true\n')
    assert [configured("play", name) for name in ("device", "block", "midi_port", "lowest_latency", "rate")] == [
        "USB",
        64,
        ["Keys"],
        True,
        None,
    ]


def test_presets_lie_in_the_folder_that_it_names(file: Path, tmp_path: Path) -> None:
    file.write_text(f'[presets]\nfolder = "{tmp_path}/mine"\n')
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "reed.toml").write_text('format = 1\nmodel = "gm-drums"\n')
    assert own_folder("presets") == tmp_path / "mine"
    assert own_folder("packs") == tmp_path / "data" / "timbrel" / "packs"
    assert preset_file("reed") == tmp_path / "mine" / "reed.toml"
    assert preset_file("gm-keys") != preset_file("reed")
    assert preset_file("../mine/reed") is None


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("[play\n", "is not TOML"),
        ("\xff", "is not UTF-8"),
        ("[plya]\n", "unknown table [plya]; did you mean 'play'?"),
        ("play = 3\n", "unknown table [play]"),
        ("[play]\ndevise = 1\n", "unknown key play.devise; did you mean 'device'?"),
        ("[play]\nblock = '64'\n", "play.block = '64' should be a whole number"),
        ("[play]\nblock = true\n", "play.block = True should be a whole number"),
        ("[play]\nmidi_port = 'Keys'\n", "should be a list of texts"),
        ("[play]\nmidi_port = [1]\n", "should be a list of texts"),
    ],
)
def test_a_wrong_file_is_one_line(file: Path, text: str, said: str) -> None:
    file.write_bytes(text.encode("latin-1"))
    with pytest.raises(UserError, match=re.escape(said)) as caught:
        configured("play", "device")
    assert str(file) in str(caught.value)


@pytest.mark.parametrize("arguments", [["presets"], ["render", "gm-keys", "gone.mid", "-o", "out.wav"]])
def test_a_folder_of_presets_that_does_not_exist_is_told(file: Path, tmp_path: Path, timbrel, arguments) -> None:
    file.write_text(f'[presets]\nfolder = "{tmp_path}/mine"\n')
    line = f"warning: {file}: presets.folder = '{tmp_path}/mine' is no folder; create it, or name another\n"
    assert timbrel(*arguments).err.startswith(line)
    (tmp_path / "mine").mkdir()
    assert "presets.folder" not in timbrel(*arguments).err


def test_a_command_for_a_shipped_preset_reads_no_broken_configuration(file: Path, timbrel) -> None:
    file.write_text("[play\n")
    assert "gone.mid" in timbrel("render", "gm-keys", "gone.mid", "-o", "out.wav").err
