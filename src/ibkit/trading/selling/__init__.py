"""Selling options and keeping them protected: the plan of a sale, its entry, its exits, its record."""
