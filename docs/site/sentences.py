"""Keeps the manual readable: the length of its sentences, their openings, one word a thing.

    python docs/site/sentences.py

Prints the figures, then what breaks the rules with its file and line, and exits 1 if anything does.
Code, headings and pictures are left out; a code span or a link counts as its words, and a cell of a
table is held against the longest sentence alone, as short cells would flatter the percentile.
"""

from __future__ import annotations

import math
import re
import sys
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
DIARY = ("evidence.md", "decisions.md")  # figures and reasons: their words are checked alone
USUAL, LONGEST = 25, 40  # words: nine sentences of ten, and every one
OPENINGS = re.compile(r"(of which|those that|those who|what is|what are)\b", re.I)
NOWHERE = re.compile(r"\b(of which|those that)\b", re.I)
WORDS = {  # a word that has another meaning or none, and the one to use
    r"(the|a) host('s)?\b": "Ultralytics",
    r"hand-made": "baseline",
    r"judg\w+": "evaluate",
    r"g(i|a)v(e|es|en|ing) up|gives? \w+ up": "prune",
    r"the control\b": "random baseline",
    r"(no|the|a) (internet )?network (access|connection)": "internet",
}
ABBREVIATION = re.compile(r"\b(al|e\.g|i\.e|vs|No)\. ")

Sentence = tuple[int, str, bool]  # line, text, whether it is a cell of a table


def pages() -> list[Path]:
    """Return the front page and all pages that people wrote."""
    return [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]


def blocks(text: str) -> Iterator[Sentence]:
    """Yield paragraphs, items of lists and cells with the line where each begins."""
    gathered: list[str] = []
    first, code, listed = 0, False, False
    for number, line in enumerate([*text.splitlines(), ""], 1):
        bare = line.strip()
        if fence := bare.startswith("```"):
            code = not code
        item = re.match(r"\s*([-*]|\d+\.) +", line)
        indented = line.startswith("    ") and not listed and not gathered
        table = bare.startswith("|")
        hidden = code or fence or indented or bare.startswith(("#", "<", "!["))
        if gathered and (not bare or item or table or hidden):
            yield first, " ".join(gathered), False
            gathered = []
        if not hidden and table and not re.fullmatch(r"[|:\- ]+", bare):
            yield from ((number, cell, True) for cell in re.split(r"(?<!\\)\|", bare) if cell)
        elif not hidden and bare and not table:
            first = first if gathered else number
            gathered.append(line[item.end() :] if item else bare)
        listed = bool(item) or (listed and (not bare or line.startswith(" ")))


def plain(text: str) -> str:
    """Return a text as it is read: a link is its words, a code span one word."""
    text = re.sub(r"!\[[^]]*\]\([^)]*\)", "", text)
    text = re.sub(r"`[^`]*`", "CODE", text)
    text = re.sub(r"\[([^]]*)\]\([^)]*\)", r"\1", text)
    return re.sub(r"\*\*|<[^>]+>", "", text)


def sentences(text: str) -> Iterator[Sentence]:
    """Yield every sentence of a page."""
    for line, block, cell in blocks(text):
        whole = ABBREVIATION.sub(r"\1 ", plain(block))
        for part in re.split(r"(?<=[.!?])[)\"]* +(?=[A-Z0-9(\"'])", whole):
            if words(part):
                yield line, part.strip(), cell


def words(sentence: str) -> int:
    """Return the number of words."""
    return sum(any(c.isalnum() for c in word) for word in sentence.split())


def check(name: str, text: str) -> tuple[list[int], list[str]]:
    """Return the lengths of a page's sentences, and a line for each that breaks a rule."""
    lengths, wrong = [], []
    for line, sentence, cell in sentences(text):
        where, n = f"{name}:{line}:", words(sentence)
        for found, better in WORDS.items():
            if match := re.search(rf"\b(?:{found})", sentence, re.I):
                wrong.append(f"{where} '{match[0]}', say {better}: {sentence}")
        if Path(name).name in DIARY:
            continue
        lengths += [] if cell else [n]
        if n > LONGEST:
            wrong.append(f"{where} {n} words, at most {LONGEST}: {sentence}")
        if match := OPENINGS.match(sentence) or NOWHERE.search(sentence):
            wrong.append(f"{where} '{match[0]}', name the noun: {sentence}")
    return lengths, wrong


def percentile(lengths: list[int], share: float = 0.9) -> int:
    """Return the length that this share of the sentences keeps."""
    return sorted(lengths)[math.ceil(share * len(lengths)) - 1] if lengths else 0


def main() -> int:
    """Check all pages; return 1 if one breaks a rule."""
    lengths, wrong = [], []
    for path in pages():
        name = path.relative_to(ROOT).as_posix()
        found, bad = check(name, path.read_text(encoding="utf-8"))
        if found:
            print(
                f"{name:30} {len(found):4} sentences, {percentile(found):3} words (90 %), "
                f"longest {max(found)}"
            )
        lengths += found
        wrong += bad
    usual = percentile(lengths)
    print(f"{'all':30} {len(lengths):4} sentences, {usual:3} words (90 %), longest {max(lengths)}")
    if usual > USUAL:
        long = f"over {USUAL} words, as a tenth may have:"
        wrong.append(f"90 % of the sentences have up to {usual} words, at most {USUAL} wanted")
        for path in pages():
            if path.name not in DIARY:
                for line, text, cell in sentences(path.read_text(encoding="utf-8")):
                    if not cell and words(text) > USUAL:
                        wrong.append(f"{path.relative_to(ROOT)}:{line}: {long} {text}")
    print("\n".join(wrong))
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
