"""
Long-running loops: carrying out jobs, sweeping what is overdue, and one supervisor over them.
"""
