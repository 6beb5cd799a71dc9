"""The model card: what the system is, what it learned from, how well it does, what is allowed and how it is used."""

import importlib.metadata
from collections.abc import Mapping
from typing import Any

import jinja2

from jaxpara import __version__
from jaxpara.inference.system import System
from jaxpara.training.net import Net

VERSIONS = ("jax", "flax", "numpy", "scipy", "librosa", "scikit-learn", "skops", "safetensors")


def text(system: System, results: Mapping[str, Any], programs: Mapping[str, Any]) -> str:
    """Returns the README.md of an export.

    Args:
      system: what is exported.
      results: results.json of its run.
      programs: by member what `jaxpara.inference.stablehlo.write` returned.
    """
    template = jinja2.Environment(
        loader=jinja2.PackageLoader("jaxpara.inference", ""),
        trim_blocks=True,
        lstrip_blocks=True,
        undefined=jinja2.StrictUndefined,
        autoescape=False,  # Markdown
    )
    template.filters["figure"] = lambda value: "none" if value is None else f"{value:.3f}"
    configs = {name: spec["config"] for name, spec in system.about["members"].items()}
    return template.get_template("card.md.j2").render(
        about=system.about,
        task=system.task,
        rate_hz=system.task.sample_rate_hz,
        results=results,
        scores={"cross-validation": results["fusion"]["cv"], "test": results["fusion"]["test"]},
        configs=configs,
        programs=programs,
        opensmile="opensmile" in str(configs),
        imagenet=[n for n, m in system.members.items() if isinstance(m.learner, Net) and m.learner.pretrained],
        version=__version__,
        versions={name: importlib.metadata.version(name) for name in VERSIONS},
    )
