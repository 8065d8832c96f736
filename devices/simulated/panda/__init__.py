"""A simulated PandA that speaks its protocol."""
