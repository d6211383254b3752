"""GAP by ONNX Runtime's ReduceMean on the tensor's own memory; needs `pip install onnxruntime onnx`.

A session is made for each shape, dtype and order of memory at the first call, and found by them in the others.
"""

from functools import cache
from typing import Any

import numpy as np
import onnxruntime
import torch
from onnx import TensorProto, helper
from torch import Tensor

ELEMENTS = {torch.float32: TensorProto.FLOAT, torch.float16: TensorProto.FLOAT16, torch.float64: TensorProto.DOUBLE}
NUMPY = {torch.float32: np.float32, torch.float16: np.float16, torch.float64: np.float64}
OPSET, IR_VERSION = 18, 10  # old enough for every supported release; 18 takes the axes as an input


@cache
def binding_of(dtype: torch.dtype, sizes: tuple[int, ...], axes: tuple[int, ...], threads: int) -> tuple[Any, Any]:
    """Return a session whose one node averages ``x`` of these sizes over ``axes``, and its binding."""
    averaged = [1 if axis in axes else size for axis, size in enumerate(sizes)]
    graph = helper.make_graph(
        [helper.make_node("ReduceMean", ["x", "axes"], ["y"])],
        "gap",
        [helper.make_tensor_value_info("x", ELEMENTS[dtype], sizes)],
        [helper.make_tensor_value_info("y", ELEMENTS[dtype], averaged)],
        [helper.make_tensor("axes", TensorProto.INT64, [len(axes)], axes)],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", OPSET)], ir_version=IR_VERSION)
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads, options.inter_op_num_threads = threads, 1
    # threads that spin after their work would slow down the next implementation that is timed in this process
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    session = onnxruntime.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
    return session, session.io_binding()


def onnx_mean(x: Tensor) -> Tensor:
    """Average (N, C, *spatial) over everything spatial; what is not dense in memory is copied."""
    order = sorted(range(x.dim()), key=x.stride, reverse=True)  # outermost first
    dense = x.permute(order).contiguous()
    axes = tuple(axis for axis, dim in enumerate(order) if dim > 1)
    session, binding = binding_of(x.dtype, tuple(dense.shape), axes, torch.get_num_threads())
    y = torch.empty([1 if axis in axes else size for axis, size in enumerate(dense.shape)], dtype=x.dtype)
    binding.bind_input("x", "cpu", 0, NUMPY[x.dtype], list(dense.shape), dense.data_ptr())
    binding.bind_output("y", "cpu", 0, NUMPY[x.dtype], list(y.shape), y.data_ptr())
    session.run_with_iobinding(binding)
    return y.permute(sorted(range(x.dim()), key=order.__getitem__))
