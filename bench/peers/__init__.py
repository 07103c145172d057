"""The work of `bench/bare.py` in other systems, each run by a Python of its own.

usage of each script: python SCRIPT BROKERS GROUP SOURCE TARGET FOLDER
"""
