"""The documentation's site: its generated pages are complete, and its links are whole."""

import re
import subprocess
import sys
from importlib.util import find_spec, module_from_spec, spec_from_file_location

import pytest

from yolo_nas_ext.config.search import KEYS
from yolo_nas_ext.network.blocks import BLOCKS
from yolo_nas_ext.space import schema


@pytest.fixture(scope="module")
def pages(root):
    spec = spec_from_file_location("site_hooks", root / "docs" / "site" / "hooks.py")
    hooks = module_from_spec(spec)
    spec.loader.exec_module(hooks)
    return hooks.pages()


def rows(text):
    return re.findall(r"^\| `([^`]+)` \|", text, re.M)


def test_every_key_is_in_the_reference(pages):
    assert sorted(rows(pages["reference/keys.md"])) == sorted(KEYS)
    assert "| `finalists` | `0` | int |" in pages["reference/keys.md"]


def test_the_grammar_is_the_one_that_is_read(pages):
    text = pages["reference/grammar.md"]
    expected = [*schema.STEM, *schema.STAGE, *schema.NECK, *schema.HEAD, *BLOCKS]
    assert rows(text) == expected
    assert all(f"`{name}`" in text for name in (*schema.TOP, *schema.CONTEXTS))


def test_the_files_of_a_run_are_those_of_the_readme(pages):
    text = pages["reference/files.md"]
    for name in ("best.yaml", "report.html", "study.db", "args.yaml", "trials.csv", "verdict.md"):
        assert f"`{name}`" in text, name


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
        [sys.executable, "-m", "mkdocs", "build", "-q", "--strict", "-f",
         root / "docs" / "site" / "mkdocs.yml", "-d", tmp_path / "site"], check=True,
    )  # fmt: skip
    assert (tmp_path / "site" / "reference" / "keys" / "index.html").is_file()
