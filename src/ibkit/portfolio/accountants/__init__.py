"""A portfolio as files that accountants' programs read: a ledger of beancount, tables of Portfolio Performance."""
