"""Sparse matrices of NumPy calls for torch tensors."""

from __future__ import annotations

import warnings
from typing import Any


def as_torch(matrix: Any, device: Any = "cpu") -> Any:
    """A scipy CSR matrix as torch CSR tensor on ``device``; the product with a dense tensor is differentiable."""
    import torch

    with warnings.catch_warnings():  # torch calls every CSR tensor a beta feature
        warnings.simplefilter("ignore", UserWarning)
        rows, columns, values = map(torch.as_tensor, (matrix.indptr, matrix.indices, matrix.data))
        return torch.sparse_csr_tensor(rows, columns, values, size=matrix.shape).to(device)
