from pathlib import Path

from setuptools import setup

here = Path(__file__).parent

setup(
    name="avocet",
    version="2.2.0",
    packages=["avocet"],
    install_requires=(here / "requirements.txt").read_text().splitlines(),
)
