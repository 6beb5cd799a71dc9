"""The organisers' feature files."""

from collections.abc import Mapping
from pathlib import Path

import numpy as np

from jaxpara.corpora.corpus import Corpus


def folder(corpus: Corpus) -> Path:
    return corpus.root / "features"


def available(corpus: Corpus, name: str) -> bool:
    return False


def read(corpus: Corpus, name: str) -> Mapping[str, np.ndarray]:
    raise NotImplementedError
