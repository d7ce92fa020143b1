"""Tests, and what they share; a package, so that tests.support is found by one name from everywhere."""
