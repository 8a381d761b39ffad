"""Looking after an installation: what may be wrong, what is weak, what production needs, and what a bundle tells of it.

Commands and the service show the same; nothing here prints, asks or serves.
"""
