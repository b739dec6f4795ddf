"""
Measurements. Nothing here is a test: what is printed is read beside the machine that it was measured on.
"""
