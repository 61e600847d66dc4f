import os

from setuptools import find_packages, setup


def torch_requirement():
    """CI sets BUILD_TORCH to test against several releases."""
    wanted = os.environ.get("BUILD_TORCH", "")
    return "torch==" + wanted if wanted else "torch>=2.1"


requires = ["numpy", "ninja"]
requires.append(torch_requirement())

setup(
    name="sanderling-ops",
    version="0.0.14",
    packages=find_packages(),
    python_requires=">=3.9",
    install_requires=requires,
)
