"""Looking after sold positions while nobody trades: missing stops, time exits, endings, silent strategies."""
