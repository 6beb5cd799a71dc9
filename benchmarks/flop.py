"""How many floating-point operations a step of ours takes."""

import math
from collections.abc import Mapping
from typing import Any

import jax


def count(step: Any, *arguments: Any) -> Mapping[str, float]:
    """Counts them in two ways.

    Returns:
      `xla`, the compiler's own analysis, which takes the body of a loop (an LSTM's step) once; `products`, those of all
      matrix products and convolutions, loops counted in full.
    """
    compiled = step.lower(*arguments).compile().cost_analysis()
    analysis = compiled[0] if isinstance(compiled, list) else compiled
    return {"xla": float(analysis.get("flops", 0)), "products": _of(jax.make_jaxpr(step)(*arguments).jaxpr)}


def _of(jaxpr: Any) -> float:
    total = 0.0
    for equation in jaxpr.eqns:
        name, parameters = equation.primitive.name, equation.params
        if name == "dot_general":
            (contracted, _), _ = parameters["dimension_numbers"]
            left = equation.invars[0].aval.shape
            total += 2 * math.prod(equation.outvars[0].aval.shape) * math.prod(left[i] for i in contracted)
        elif name == "conv_general_dilated":
            kernel, spec = equation.invars[1].aval.shape, parameters["dimension_numbers"].rhs_spec
            each = math.prod(kernel) / kernel[spec[0]] / math.prod(parameters["lhs_dilation"])
            total += 2 * math.prod(equation.outvars[0].aval.shape) * each
        else:
            times = parameters["length"] if name == "scan" else 1
            total += times * sum(_of(inner) for value in parameters.values() for inner in _inner(value))
    return total


def _inner(value: Any) -> list[Any]:
    """The programs in a parameter of an equation."""
    if isinstance(value, (tuple, list)):
        return [inner for one in value for inner in _inner(one)]
    value = getattr(value, "jaxpr", value)
    return [value] if hasattr(value, "eqns") else []
