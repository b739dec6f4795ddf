"""
The recording gateway: phone calls in, sealed at once under their user's own key, kept, heard again, and gone for good when deleted.
"""

__version__ = "0.1.0"
