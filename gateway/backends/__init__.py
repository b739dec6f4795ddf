"""
The host's side of the plugin boundary: finding plugins, checking what they bring, connecting to it.
"""
