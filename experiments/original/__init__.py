"""The pinned 2020 stack: plain scripts for Python 3.7, its worker and its lock."""
