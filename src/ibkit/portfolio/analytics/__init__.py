"""What a portfolio is made of and how it did: allocation, results, returns, risk, options. Pure. FUT-05.

Money is Decimal, in one currency that is asked for; statistics are float. A figure that cannot be told is None, and a
`Missing` names it with the reason.
"""
