"""Tests. A package, so that no installed package of this name stands in front of tests.testbed."""
