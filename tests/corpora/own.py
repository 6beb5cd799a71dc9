"""Corpora of a user: audio anywhere in a folder, and a table."""

import contextlib

import numpy as np
import soundfile

from jaxpara.corpora.check import check
from jaxpara.corpora.findings import Findings
from jaxpara.corpora.read import read
from jaxpara.corpora.source import Options
from jaxpara.corpora.tasks import task_of
from jaxpara.errors import UserError


class Own:
    """A folder with short noise in the named files; `config` are fields of `config.corpus`."""

    def __init__(self, root, files, **config):
        self.root = root
        self.config = {"task": "classes", "root": str(root), **config}
        for number, name in enumerate(files):
            path = root / name
            path.parent.mkdir(parents=True, exist_ok=True)
            noise = 0.1 * np.random.default_rng(number).uniform(-1, 1, 1600)
            kind = {"mp3": "MP3", "flac": "FLAC", "ogg": "OGG"}.get(name.rsplit(".")[-1].lower(), "WAV")
            soundfile.write(path, noise, 16_000, format=kind)

    def table(self, lines, name="labels.csv"):
        (self.root / name).write_text("\n".join(lines) + "\n", encoding="utf-8")
        self.config["table"] = name
        return self

    def read(self, **config):
        wanted = self.config | config
        return read(self.root, task_of(wanted), Options.of(wanted))

    def listed(self, **config):
        """Return the findings of a check as lines, without the folder."""
        wanted, findings = self.config | config, Findings()
        with contextlib.suppress(UserError):
            check(self.root, task_of(wanted), findings, options=Options.of(wanted))
        return [f"{f.level}: {f}".replace(f"{self.root}/", "") for f in findings.listed()]
