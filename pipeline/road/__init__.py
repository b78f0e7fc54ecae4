"""The road: how a recipe's sections become the graph of steps."""
