"""Measures what the design budgets, keepalived beside Roost in the same run: ``python -m lab.bench`` (``make bench``).

Speed is printed here with its ratio to the budget, and never asserted.
"""
