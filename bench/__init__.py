"""Benchmarks of layerscope against what people use today and against what the machine can do: `python -m bench`."""

import os

ONE_THREAD = {
    "OMP_NUM_THREADS": "1",
    "OPENBLAS_NUM_THREADS": "1",
    "MKL_NUM_THREADS": "1",
    "NUMEXPR_NUM_THREADS": "1",
    "TF_NUM_INTRAOP_THREADS": "1",
    "TF_NUM_INTEROP_THREADS": "1",
    "LAYERSCOPE_ONNX_THREADS": "1",
}
QUIET = {
    "KERAS_BACKEND": "tensorflow",
    "TF_CPP_MIN_LOG_LEVEL": "3",
    "TF_ENABLE_ONEDNN_OPTS": "1",
    "CUDA_VISIBLE_DEVICES": "-1",
    "MPLBACKEND": "Agg",
}
# Here, because the libraries read these when they are first imported, and this file comes before any of them.
os.environ.update(ONE_THREAD | QUIET)
# Processes that are clocked start from compiled files, as a user's do.
os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
