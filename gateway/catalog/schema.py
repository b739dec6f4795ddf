"""
The catalog's schema, which the tables are added to.
"""

from sqlalchemy import MetaData

metadata = MetaData()
