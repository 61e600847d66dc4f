"""A small extension that is compiled on installation, as flash-attn is: for the cards that TORCH_CUDA_ARCH_LIST names."""

from setuptools import setup
from torch.utils.cpp_extension import BuildExtension, CUDAExtension

setup(
    name="tilesum",
    version="0.1",
    ext_modules=[CUDAExtension("tilesum", ["tilesum.cu"])],
    cmdclass={"build_ext": BuildExtension},
)
