"""Who may come in: users and their keys, signature and token checks, outer and brokerage sessions."""
