"""GAP by ONNX Runtime's own kernels, on the memory of the tensors (IO binding), without conversions."""

import math
from functools import partial

import torch
from torch import Tensor

from gapbench.implementations.base import Implementation, implementation, missing, not_off_cpu
from gapbench.workloads.cases import Case
from gapbench.workloads.passes import Function

_OPSET, _IR_VERSION = 18, 10
"""Old enough for every supported release of ONNX Runtime; opset 18 takes ReduceMean's axes as an input."""


def _dimensions(case: Case) -> tuple[list[int], list[int]]:
    """Return the input's sizes in the order of memory, outermost first, and which of them are averaged."""
    spatial = len(case.spatial)
    if case.layout == "contiguous":
        return list(case.shape), list(case.spatial_dims)
    if case.layout == "channels_last":
        return [case.n, *case.spatial, case.c], list(range(1, 1 + spatial))
    assert case.layout == "permuted"
    return [*case.spatial, case.n, case.c], list(range(spatial))


def _model(operator: str, dtype: str, sizes: list[int], axes: list[int]) -> bytes:
    """Return a model of one node, which averages ``x`` over ``axes`` and keeps them as ones in ``y``."""
    from onnx import TensorProto, helper

    element = {"float32": TensorProto.FLOAT, "float16": TensorProto.FLOAT16, "float64": TensorProto.DOUBLE}[dtype]
    inputs, constants = ["x"], []
    if operator == "ReduceMean":
        inputs.append("axes")
        constants.append(helper.make_tensor("axes", TensorProto.INT64, [len(axes)], axes))
    graph = helper.make_graph(
        [helper.make_node(operator, inputs, ["y"])], "gap", [helper.make_tensor_value_info("x", element, sizes)],
        [helper.make_tensor_value_info("y", element, _averaged(sizes, axes))], constants,
    )  # fmt: skip
    opset = helper.make_opsetid("", _OPSET)
    model: bytes = helper.make_model(graph, opset_imports=[opset], ir_version=_IR_VERSION).SerializeToString()
    return model


def _averaged(sizes: list[int], axes: list[int]) -> list[int]:
    return [1 if axis in axes else size for axis, size in enumerate(sizes)]


def _prepare(operator: str, case: Case) -> Function:
    """Return GAP of inputs in the memory order of ``case``, since a session knows sizes but not strides."""
    import numpy as np
    import onnxruntime

    sizes, axes = _dimensions(case)
    averaged = _averaged(sizes, axes)
    assert math.prod(averaged) == case.n * case.c, "the runtime would write past the end of the output"
    shape = case.averaged
    dtype, element = getattr(torch, case.dtype), getattr(np, case.dtype)
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = case.threads
    options.inter_op_num_threads = 1
    # threads that spin after their work would slow down the next implementation that is timed in this process
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    session = onnxruntime.InferenceSession(
        _model(operator, case.dtype, sizes, axes), options, providers=["CPUExecutionProvider"]
    )
    binding = session.io_binding()

    def gap(x: Tensor) -> Tensor:
        y = torch.empty(shape, dtype=dtype)
        binding.bind_input("x", "cpu", 0, element, sizes, x.data_ptr())
        binding.bind_output("y", "cpu", 0, element, averaged, y.data_ptr())
        session.run_with_iobinding(binding)
        return y

    return gap


def _unsupported(case: Case) -> str | None:
    if reason := not_off_cpu(case, "ONNX Runtime"):
        return reason
    if case.dtype == "bfloat16":
        return "ONNX Runtime has no bfloat16 code for the CPU; choose --dtype float32 or another implementation"
    if case.layout == "sliced":
        return "ONNX Runtime reads dense memory only, without gaps; choose --layout channels_last"
    if not case.elements:
        return "ONNX Runtime does not bind empty buffers; use mean"
    return missing("onnxruntime", "onnx") or missing("onnx", "onnx")


def _pool_unsupported(case: Case) -> str | None:
    if case.dtype == "float64":
        return "ONNX Runtime does not pool float64 on the CPU; use onnx_reduce_mean"
    if case.layout != "contiguous":
        return "ONNX's GlobalAveragePool is defined on (N, C, *spatial) in memory; use onnx_reduce_mean"
    return _unsupported(case)


_on_onnx = partial(implementation, "onnx", differentiable=False, loads=("onnxruntime", "onnx"))


@_on_onnx(
    "ONNX Runtime's GlobalAveragePool on the tensor's memory; float16 is cast to float32 and back",
    "ONNX[0].prepare(case)(x)  # from gapbench.implementations.onnx import ONNX",
    unsupported=_pool_unsupported,
)
def _onnx_global_average_pool(case: Case) -> Function:
    return _prepare("GlobalAveragePool", case)


@_on_onnx(
    "ONNX Runtime's ReduceMean on the tensor's memory, along the axes that are spatial there",
    "ONNX[1].prepare(case)(x)  # from gapbench.implementations.onnx import ONNX",
    unsupported=_unsupported,
)
def _onnx_reduce_mean(case: Case) -> Function:
    return _prepare("ReduceMean", case)


ONNX: tuple[Implementation, ...] = (_onnx_global_average_pool, _onnx_reduce_mean)
