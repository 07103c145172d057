"""Tests of a spec, as its files of tests tell them."""
