"""The exchange: tickets, questions, matching, settlement, books, and the rows in which they are shown."""
