"""How the schema came to be what it is, one module per step."""
