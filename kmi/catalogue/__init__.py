"""The catalogue: strict YAML in ``distros/`` becomes one ``ImageSpec`` for each image."""

from kmi.catalogue.load import Catalogue, load, load_files
from kmi.catalogue.select import select

__all__ = ["Catalogue", "load", "load_files", "select"]
