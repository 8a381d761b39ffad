"""A report of a portfolio: what it says (`making`), in words and figures (`words`), as parts of a page (`parts`).

How the parts look is no matter of this room: `ibkit.render` makes a page for browsers and a PDF of the same ones.
"""
