"""Ending a sold position by an order of ours: its exits off, the close, or its exits back; rolling it on."""
