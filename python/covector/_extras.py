"""Transforms that MLX lacks, written with those that it has: Jacobians, Hessians and products with them."""

from __future__ import annotations

import functools
import math
from collections.abc import Callable, Sequence
from typing import Any

from covector import _covector as mx

__all__ = ["check_grads", "hessian", "hvp", "jacfwd", "jacrev", "value_and_jac"]

_Function = Callable[..., Any]
_Argnums = int | Sequence[int]


class _Flat:
    """A function of trees at one point, as a function of the list of its differentiated arrays."""

    def __init__(
        self, op: str, fun: _Function, argnums: _Argnums, args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> None:
        numbers = (argnums,) if isinstance(argnums, int) else tuple(argnums)
        for n in numbers:
            if not isinstance(n, int):
                raise TypeError(f"[{op}] argnums must be an int or a sequence of ints, but {n!r} was given")
            if not 0 <= n < len(args):
                raise ValueError(
                    f"[{op}] argnums asks for argument {n}, but the function was called with {len(args)} "
                    "positional argument(s); count from 0"
                )
        picked = args[numbers[0]] if isinstance(argnums, int) else tuple(args[n] for n in numbers)
        self.inputs, self.structure = mx._flatten(picked)
        stranger = self.structure.stranger()
        if stranger is not None:
            path, what = stranger
            raise ValueError(
                f"[{op}] the differentiated argument{path} is {what}, not an array; "
                "make an array of it with mx.array"
            )
        for i, x in enumerate(self.inputs):
            if not mx.issubdtype(x.dtype, mx.inexact):
                raise TypeError(
                    f"[{op}] the differentiated argument{self.structure.path(i)} is {_name(x)}; "
                    "only floating-point and complex arrays have derivatives. Convert it with astype"
                )
        self.op = op
        self._fun, self._numbers, self._args, self._kwargs = fun, numbers, args, kwargs
        self._single = isinstance(argnums, int)
        self.outputs: list[Any] = []
        self.trace = mx._trace(op, self, self.inputs)

    def __call__(self, *leaves: Any) -> list[Any]:
        picked = self.structure.unflatten(list(leaves))
        args = list(self._args)
        for n, tree in zip(self._numbers, (picked,) if self._single else picked, strict=True):
            args[n] = tree
        self.result = self._fun(*args, **self._kwargs)
        outputs: list[Any]
        outputs, self.result_structure = mx._flatten(self.result)
        stranger = self.result_structure.stranger()
        if stranger is not None:
            path, what = stranger
            raise ValueError(
                f"[{self.op}] the function must return arrays, or a tree of arrays, "
                f"but its result{path} is {what}"
            )
        if not self.outputs:
            self.outputs = outputs
        return outputs

    def is_complex(self) -> bool:
        """Whether the Jacobian is complex; then everything must be, as only then it says all."""
        arrays = [*self.inputs, *self.outputs]
        complexes = [mx.issubdtype(x.dtype, mx.complexfloating) for x in arrays]
        if any(complexes) and not all(complexes):
            raise TypeError(
                f"[{self.op}] the function mixes real and complex arrays, so its derivative is no complex "
                "matrix; take real and imaginary parts apart, or use vjp and jvp"
            )
        return all(complexes)


def _name(x: Any) -> str:
    """The element type of an array, as messages have it."""
    return str(x.dtype).rsplit(".", 1)[-1]


def _basis(x: Any) -> Any:
    return mx.eye(x.size, dtype=x.dtype).reshape((x.size, *x.shape))


def _reverse(flat: _Flat) -> list[list[Any]]:
    """For each output, the derivative with respect to each input, row by row."""
    is_complex = flat.is_complex()
    rows = []
    for k, out in enumerate(flat.outputs):

        def row(ct: Any, k: int = k) -> list[Any]:
            cts = [ct if j == k else mx.zeros_like(other) for j, other in enumerate(flat.outputs)]
            products: list[Any] = flat.trace.pullback(cts)
            return products

        # A product with the conjugate transpose gives the conjugate of a row.
        if out.size:
            found = mx.vmap(row)(_basis(out))
        else:
            found = [mx.zeros((0, *x.shape), x.dtype) for x in flat.inputs]
        found = [mx.conjugate(x) for x in found] if is_complex else found
        rows.append([g.reshape((*out.shape, *x.shape)) for g, x in zip(found, flat.inputs, strict=True)])
    return rows


def _forward(flat: _Flat) -> list[list[Any]]:
    """The same, column by column."""
    flat.is_complex()
    columns = []
    for i, x in enumerate(flat.inputs):

        def column(t: Any, i: int = i) -> list[Any]:
            ts = [t if j == i else mx.zeros_like(other) for j, other in enumerate(flat.inputs)]
            products: list[Any] = flat.trace.pushforward(ts)
            return products

        if x.size:
            found = mx.vmap(column, out_axes=-1)(_basis(x))
        else:
            found = [mx.zeros((*out.shape, 0), out.dtype) for out in flat.outputs]
        shaped = [g.reshape((*out.shape, *x.shape)) for g, out in zip(found, flat.outputs, strict=True)]
        columns.append(shaped)
    return [list(row) for row in zip(*columns, strict=True)]


def _jacobian(
    op: str, fun: _Function, argnums: _Argnums, derive: Callable[[_Flat], list[list[Any]]], *, value: bool
) -> _Function:
    if not callable(fun):
        raise TypeError(f"[{op}] takes a function as its first argument, but {fun!r} was given")

    @functools.wraps(fun)
    def jacobian(*args: Any, **kwargs: Any) -> Any:
        flat = _Flat(op, fun, argnums, args, kwargs)
        result, structure = flat.result, flat.result_structure
        for i, out in enumerate(flat.outputs):
            if not mx.issubdtype(out.dtype, mx.inexact):
                raise TypeError(
                    f"[{op}] the result{structure.path(i)} of the function is {_name(out)}; "
                    "only floating-point and complex results have derivatives. Leave it out"
                )
        rows = [flat.structure.unflatten(row) for row in derive(flat)]
        found = structure.unflatten(rows)
        return (result, found) if value else found

    return jacobian


def jacrev(fun: _Function, argnums: _Argnums = 0) -> _Function:
    """Returns a function that computes the Jacobian of ``fun`` by reverse mode, one pass for all rows.

    Best for functions with more inputs than outputs. The result has the structure of the output of ``fun``,
    with the structure of the argument in place of each array; each array has the shape of the output followed
    by the shape of the input.

    Args:
        fun: A function of arrays or trees of arrays.
        argnums: The positions of the arguments to differentiate; a sequence makes a tuple of each Jacobian.

    Example:
        >>> import covector.core as mx
        >>> mx.jacrev(lambda x: x * x)(mx.array([1.0, 2.0]))
        array([[2, 0],
               [0, 4]], dtype=float32)
    """
    return _jacobian("jacrev", fun, argnums, _reverse, value=False)


def jacfwd(fun: _Function, argnums: _Argnums = 0) -> _Function:
    """Returns a function that computes the Jacobian of ``fun`` by forward mode, one pass for all columns.

    As :func:`jacrev`; best for functions with more outputs than inputs.
    """
    return _jacobian("jacfwd", fun, argnums, _forward, value=False)


def value_and_jac(fun: _Function, argnums: _Argnums = 0) -> _Function:
    """Returns a function that computes ``(output of fun, Jacobian)``, the Jacobian as by :func:`jacrev`."""
    return _jacobian("value_and_jac", fun, argnums, _reverse, value=True)


def hessian(fun: _Function, argnums: _Argnums = 0) -> _Function:
    """Returns a function that computes the second derivatives of ``fun``, by forward over reverse mode.

    Example:
        >>> import covector.core as mx
        >>> mx.hessian(lambda x: (x * x * x).sum())(mx.array([1.0, 2.0]))
        array([[6, 0],
               [0, 12]], dtype=float32)
    """
    gradient = _jacobian("hessian", fun, argnums, _reverse, value=False)
    return _jacobian("hessian", gradient, argnums, _forward, value=False)


def hvp(fun: _Function, primals: Any, tangents: Any) -> list[Any]:
    """The product of the Hessian of a scalar function with a vector, without the matrix.

    Args:
        fun: A function that returns a scalar array.
        primals: A list of the arrays (or trees of arrays) at which to evaluate the Hessian.
        tangents: A list of the same structure: the vector.

    Returns:
        The list of the products, one for each primal.

    Example:
        >>> import covector.core as mx
        >>> mx.hvp(lambda x: (x * x * x).sum(), [mx.array([1.0, 2.0])], [mx.array([1.0, 1.0])])
        [array([6, 12], dtype=float32)]
    """
    if isinstance(primals, mx.array):
        primals, tangents = [primals], [tangents]
    gradient = mx._hvp_grad(fun, range(len(primals)))

    def gradients(*args: Any) -> Any:
        grads = gradient(*args)
        return grads if len(primals) > 1 else [grads]

    products: list[Any] = mx._hvp_jvp(gradients, primals, tangents)[1]
    return products


def _dot(xs: list[Any], ys: list[Any]) -> float:
    """The real inner product of two lists of arrays."""
    total = 0.0
    for x, y in zip(xs, ys, strict=True):
        total += float(mx.real(mx.conjugate(x) * y).astype(mx.float64).sum().item())
    return total


def _shifted(xs: list[Any], by: float, ts: list[Any]) -> list[Any]:
    return [x + by * t for x, t in zip(xs, ts, strict=True)]


def check_grads(
    fun: _Function,
    args: Any,
    *,
    eps: float | None = None,
    atol: float | None = None,
    rtol: float | None = None,
    seed: int = 0,
) -> None:
    """Compares the derivatives of ``fun`` at ``args``, forward and reverse, with differences of its values.

    Along a random direction the forward derivative must agree with the central difference, and along a random
    covector the reverse derivative with the forward one. Use float64 arguments where you can: differences of
    float32 values are rough.

    Args:
        fun: A function of arrays or trees of arrays, smooth near ``args``.
        args: A list of the arguments; a single array counts as a list of one.
        eps: The step of the difference.
        atol: How far apart the two may be, absolutely.
        rtol: The same, relative to their size.
        seed: What the random directions are drawn from.

    Raises:
        AssertionError: When they do not agree; the message says which and by how much.
    """
    if not callable(fun):
        raise TypeError(f"[check_grads] takes a function as its first argument, but {fun!r} was given")
    if isinstance(args, mx.array):
        args = [args]
    elif not isinstance(args, (list, tuple)):
        raise TypeError(
            "[check_grads] args must be a list of the arguments of the function, "
            f"but {type(args).__name__} was given; put it into a list"
        )
    flat = _Flat("check_grads", fun, range(len(args)), tuple(args), {})
    fine = all(x.dtype in (mx.float64, mx.complex64) for x in flat.inputs) and any(
        x.dtype == mx.float64 for x in flat.inputs
    )
    eps = eps if eps is not None else (1e-5 if fine else 1e-2)
    atol = atol if atol is not None else (1e-7 if fine else 1e-2)
    rtol = rtol if rtol is not None else (1e-6 if fine else 1e-2)
    keys = iter(mx._random.split(mx._random.key(seed), 2 * (len(flat.inputs) + len(flat.outputs))))

    def direction(x: Any) -> Any:
        def draw() -> Any:
            return mx._random.normal(x.shape, key=next(keys)).astype(x.dtype)

        return draw() + 1j * draw() if mx.issubdtype(x.dtype, mx.complexfloating) else draw()

    ts = [direction(x) for x in flat.inputs]
    cts = [direction(y) if mx.issubdtype(y.dtype, mx.inexact) else mx.zeros_like(y) for y in flat.outputs]
    forward, reverse = flat.trace.pushforward(ts), flat.trace.pullback(cts)
    ahead = flat(*_shifted(flat.inputs, eps, ts))
    behind = flat(*_shifted(flat.inputs, -eps, ts))
    differences = [(a - b) * (0.5 / eps) for a, b in zip(ahead, behind, strict=True)]

    def compare(what: str, got: float, want: float, scale: float) -> None:
        if not math.isclose(got, want, rel_tol=0.0, abs_tol=atol + rtol * scale):
            raise AssertionError(
                f"[check_grads] {what}: {got:.9g} against {want:.9g}, "
                f"where {atol + rtol * scale:.2g} apart is allowed"
            )

    for i, (jvp, difference, ct) in enumerate(zip(forward, differences, cts, strict=True)):
        scale = math.sqrt(_dot([jvp], [jvp]) * _dot([ct], [ct]))
        got, want = _dot([ct], [jvp]), _dot([ct], [difference])
        compare(f"output {i}: jvp against the central difference", got, want, scale)
    scale = math.sqrt(_dot(reverse, reverse) * _dot(ts, ts))
    compare("vjp against jvp", _dot(reverse, ts), _dot(cts, forward), scale)
