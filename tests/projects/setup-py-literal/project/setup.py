#!/usr/bin/env python
from setuptools import find_packages, setup

setup(
    name="whimbrel",
    version="0.5.2",
    description="Bird call detection",
    packages=find_packages(exclude=("tests",)),
    python_requires=">=3.9",
    install_requires=[
        "librosa>=0.9",
        "torch>=2.0,<2.4",
        "torchaudio>=2.0,<2.4",  # must match torch
        # "torchvision",
    ],
    extras_require={
        "fast": ["xformers>=0.0.20"],
        "dev": ["pytest", "black"],
    },
)
