"""IBKR's Flex Web Service in the simulated world: who may ask, and statements made from the accounts' histories."""
