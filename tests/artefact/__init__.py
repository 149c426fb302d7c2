"""Tests of what people install: the pyz, and the package."""
