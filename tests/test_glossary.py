"""Words that must not come back: code, docs, templates and messages use plain English and the terms of the field.

It finds relapses only; whether a sentence is easy to read, a reader decides.
"""

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
# What not to write, as a regular expression between word boundaries, and what to write instead.
GLOSSARY = {
    r"mend(s|ed|ing)?": "fix",
    # A computer may be a virtual machine. The field has support vector machines and machine learning.
    r"(?<!support vector )(?<!virtual )machines?(?! learning)": "SVM; for hardware: computer",
    r"pictures?": "image",
    r"(fitted|(?<!fine-)tuned) on": "trained on; training set, validation set",
    r"fit and tune": "training set and validation set",
    r"(single|each|every|of the|all) fits?": "trained model, run",
    r"(go|goes|gone|going) on": "resume, continue",
    r"stands? twice": "appears twice, is duplicated",
    r"what fills up": "padding",
    r"(was|were|is|be) heard|heard\.py": "read; new audio",
    r"half the bits": "mixed precision (bfloat16)",
    r"anew": "again",
    r"begun": "started",
    r"(is|are|be|best) told": "listed, shown, reported",
    r"tells?": "lists, shows, reports",
    r"beside": "next to, also",
    r"in haste": "quickly",
    r"learnt|spoilt": "learned, damaged",
    r"seats?|lockstep": "slot; run",
}
WORDS = {re.compile(rf"\b(?:{words})\b", re.IGNORECASE): plain for words, plain in GLOSSARY.items()}
CLAUSE = re.compile(r'"""(Whether|What|How|Where|Which|That) ')  # a docstring without a verb or a noun
# Lines that have to keep such a word: the file, a part of the line, and why.
EXCEPTIONS: tuple[tuple[str, str, str], ...] = (
    ("tests/models/golden/make_crop.py", 'drawn("picture"', "the name seeds the random values of a golden file"),
    ("tests/models/test_crop.py", 'drawn("picture"', "the name seeds the random values of a golden file"),
)

FILES = sorted(
    path
    for pattern in (
        *("jaxpara/**/*.py", "jaxpara/**/*.j2", "configs/*.py", "benchmarks/**/*.py", "benchmarks/**/*.md"),
        *("tests/**/*.py", "docs/*.md", "README.md", "CONTRIBUTING.md", "CHANGELOG.md"),
    )
    for path in ROOT.glob(pattern)
    if path != Path(__file__)
)


def relapses(name, text):
    """Yield `file:line: 'words', write ...` for all words of the glossary in a file."""
    for number, line in enumerate(text.splitlines(), 1):
        if any(file == name and part in line for file, part, _ in EXCEPTIONS):
            continue
        for words, plain in WORDS.items():
            if found := words.search(line):
                yield f"{name}:{number}: {found[0]!r}, write {plain}"
        if CLAUSE.search(line):
            yield f"{name}:{number}: {line.strip()!r}, begin with a verb, or for a class or property with a noun"


def test_no_word_of_the_glossary_comes_back():
    assert len(FILES) > 150
    names = {path.relative_to(ROOT).as_posix(): path.read_text(encoding="utf-8") for path in FILES}
    found = [line for name, text in names.items() for line in relapses(name, text)]
    assert not found, f"{len(found)} relapses:\n" + "\n".join(found)


@pytest.mark.parametrize(("file", "part", "reason"), EXCEPTIONS)
def test_every_exception_is_needed(file, part, reason):
    line = next(line for line in (ROOT / file).read_text(encoding="utf-8").splitlines() if part in line)
    assert reason
    assert any(words.search(line) for words in WORDS)


@pytest.mark.parametrize(
    ("line", "wrong"),
    [
        ("Mends it.", True), ("The amendment", False), ("a support vector machine", False), ("two machines", True),
        ("a virtual machine", False), ("A picture of it", True), ("It goes on where", True), ("besides", False),
        ('    """Whether it is so."""', True), ('    """Return whether it is so."""', False),
    ],
)  # fmt: skip
def test_words_are_found_at_word_boundaries(line, wrong):
    assert len(list(relapses("a.md", line))) == wrong
