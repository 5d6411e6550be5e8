"""Pages are right: each link leads to a file and a heading, and each command and option of theirs exists."""

import re
import shlex
from pathlib import Path

import pytest
import typer.main
from timbrel.__main__ import command_line

ROOT = Path(__file__).parents[1]
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", ROOT / "CHANGELOG.md", *sorted((ROOT / "docs").rglob("*.md"))]
LINK = re.compile(r"\]\(([^)\s]+)\)")


def anchors(text):
    """The anchors of a page's headings, as forges write them."""
    headings = re.findall(r"^#+ (.+)$", re.sub(r"```.*?```", "", text, flags=re.DOTALL), re.MULTILINE)
    plain = (re.sub(r"\[([^\]]*)\]\([^)]*\)", r"\1", heading).lower() for heading in headings)
    return {re.sub(r"[^\w\- ]", "", heading).strip().replace(" ", "-") for heading in plain}


def dead_links(page):
    """The links of a page that lead to no file or no heading."""
    text = page.read_text(encoding="utf-8")
    for link in LINK.findall(re.sub(r"`[^`\n]*`", "", text)):
        path, _, anchor = link.partition("#")
        if "://" in link:
            continue
        target = (page.parent / path).resolve() if path else page
        text_of = target.read_text(encoding="utf-8") if target.suffix == ".md" and target.exists() else ""
        if not target.exists() or (anchor and text_of and anchor not in anchors(text_of)):
            yield link


def commands(page):
    """The lines of code of a page that run timbrel, each as its words."""
    lines = re.sub(r"\\\n\s*", " ", page.read_text(encoding="utf-8")).splitlines()
    for line in lines:
        if re.match(r" {4}(\w+=\S+ )*timbrel [a-z]", line):
            for part in re.split(r"&&|;|\|", line.partition("  #")[0].partition("\t#")[0]):
                words = shlex.split(part.strip(), comments=True)
                while words and "=" in words[0]:
                    words = words[1:]
                if words and words[0] == "timbrel":
                    yield words[1:]


def complaint(words):
    """Return the fault of a command's words; None if the command and its options exist."""
    command = typer.main.get_command(command_line())
    while words and hasattr(command, "commands"):
        if words[0] not in command.commands:
            return f"no command {words[0]!r}"
        command, words = command.commands[words[0]], words[1:]
    known = {name for parameter in command.params for name in (*parameter.opts, *parameter.secondary_opts)}
    return next(
        (f"no option {word}" for word in words if word.startswith("--") and word.split("=")[0] not in known), None
    )


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.relative_to(ROOT).as_posix())
def test_links_lead_to_files_and_headings(page):
    assert list(dead_links(page)) == []


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.relative_to(ROOT).as_posix())
def test_commands_and_their_options_exist(page):
    assert [(words, wrong) for words in commands(page) if (wrong := complaint(words))] == []


def test_pages_have_commands_and_wrong_ones_are_noticed():
    assert sum(1 for page in PAGES for _ in commands(page)) > 60
    assert complaint(["render", "gm-keys", "--nonsense"]) == "no option --nonsense"
    assert complaint(["sing"]) == "no command 'sing'"


def test_a_link_to_no_file_or_no_heading_is_noticed(tmp_path):
    (tmp_path / "other.md").write_text("# One\n", encoding="utf-8")
    page = tmp_path / "page.md"
    page.write_text("[a](other.md#one) [b](other.md#two) [c](none.md) [d](other.md)\n", encoding="utf-8")
    assert list(dead_links(page)) == ["other.md#two", "none.md"]


def test_every_page_is_on_the_index():
    index = (ROOT / "docs" / "index.md").read_text(encoding="utf-8")
    listed = {(ROOT / "docs" / link).resolve() for link in LINK.findall(index)}
    assert {page for page in PAGES if page.parent != ROOT} <= listed | {ROOT / "docs" / "index.md"}
