"""The documentation's site: its generated pages are complete, and its links are whole."""

import re
import subprocess
import sys
from importlib import import_module
from importlib.util import find_spec, module_from_spec, spec_from_file_location

import pytest

from yolo_nas_ext.config.settings import keys
from yolo_nas_ext.host.plugin.startup import COMMANDS
from yolo_nas_ext.network.blocks import BLOCKS
from yolo_nas_ext.space import schema


def script(path):
    spec = spec_from_file_location(path.stem, path)
    module = module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def hooks(root):
    return script(root / "docs" / "site" / "hooks.py")


@pytest.fixture(scope="module")
def pages(hooks):
    return hooks.pages()


@pytest.fixture(scope="module")
def sentences(root):
    return script(root / "docs" / "site" / "sentences.py")


def rows(text):
    return re.findall(r"^\| `([^`]+)` \|", text, re.M)


def test_every_key_is_in_the_reference(hooks):
    text = hooks.keys()
    for command in COMMANDS:
        module = import_module(f"yolo_nas_ext.config.{command.removeprefix('nas-')}")
        expected = [name for kind in module.HELP for name in keys(kind)]
        part = text.partition(f"## Keys of `yolo {command}`\n")[2].partition("\n## ")[0]
        assert sorted(rows(part)) == sorted(expected)
    assert "| `finalists` | `0` | int |" in text


def test_the_grammar_is_the_one_that_is_read(hooks):
    text = hooks.space()
    expected = [*schema.STEM, *schema.STAGE, *schema.NECK, *schema.HEAD, *BLOCKS]
    assert rows(text) == expected
    assert all(f"`{name}`" in text for name in (*schema.TOP, *schema.CONTEXTS))


def test_the_files_of_a_run_are_those_of_the_readme(hooks):
    text = hooks.run_files()
    for name in ("best.yaml", "report.html", "study.db", "args.yaml", "trials.csv", "verdict.md"):
        assert f"`{name}`" in text, name


def test_the_reference_is_one_page_of_all_three(hooks, pages):
    for part in (hooks.keys(), hooks.run_files(), hooks.space()):
        assert part in pages["reference.md"]


def test_every_link_and_page_is_there(root, pages):
    docs = root / "docs"
    texts = {str(p.relative_to(docs)): p.read_text(encoding="utf-8") for p in docs.rglob("*.md")}
    texts |= pages
    nav = (docs / "site" / "mkdocs.yml").read_text(encoding="utf-8")
    assert set(re.findall(r": (\S+\.md)$", nav, re.M)) <= set(texts)
    for name, text in texts.items():
        for target in re.findall(r"\]\(([^)#:\s]+)[^)]*\)", text):
            path = (docs / name).parent / target
            known = str(path.resolve().relative_to(docs.resolve())) in texts
            assert known or path.exists(), f"{name}: {target}"


@pytest.mark.skipif(not find_spec("mkdocs"), reason="mkdocs is not installed: `make docs` does it")
def test_the_site_is_built_without_a_warning(root, tmp_path):
    subprocess.run(
        [
            sys.executable,
            "-m",
            "mkdocs",
            "build",
            "-q",
            "--strict",
            "-f",
            root / "docs" / "site" / "mkdocs.yml",
            "-d",
            tmp_path / "site",
        ],
        check=True,
    )
    assert (tmp_path / "site" / "reference" / "index.html").is_file()


def test_sentences_of_the_manual_are_short_and_say_one_thing_a_word(sentences, capsys):
    assert sentences.main() == 0, capsys.readouterr().out


def test_a_long_sentence_is_named_with_its_line(sentences):
    page = "# A title of a page\n\nShort. " + "Word " * 41 + "end.\n"
    lengths, wrong = sentences.check("a.md", page)
    assert lengths == [1, 42]
    assert len(wrong) == 1 and wrong[0].startswith("a.md:3: 42 words")


def test_code_headings_and_pictures_are_no_sentences(sentences):
    page = "# One\n\n```sh\nof which the host\n```\n\n    of which\n\n![the host](a.png)\n"
    assert sentences.check("a.md", page) == ([], [])


def test_a_link_is_its_words_and_code_is_one(sentences):
    [(line, text, cell)] = sentences.sentences(
        "Type `yolo nas-search a=b` as [said](b.md#c) there."
    )
    assert (line, cell, sentences.words(text)) == (1, False, 5)


def test_items_and_cells_are_apart(sentences):
    page = "- one two\n- three\n  four. Five.\n\n| a b | c |\n|---|---|\n| d | e f g |\n"
    lengths, wrong = sentences.check("a.md", page)
    assert lengths == [2, 2, 1] and not wrong


@pytest.mark.parametrize(
    "text",
    ["Those that win.", "One of which wins.", "The host wins.", "It is judged.", "It gives up."],
)
def test_a_word_or_an_opening_that_names_nothing_is_refused(sentences, text):
    assert sentences.check("a.md", text)[1]


def test_of_evidence_and_decisions_only_the_words_are_checked(sentences):
    lengths, wrong = sentences.check("docs/evidence.md", "Those that win " + "word " * 50 + ".")
    assert not lengths and not wrong
    assert sentences.check("docs/evidence.md", "The host wins.")[1]
