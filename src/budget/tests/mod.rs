//! Tests that try to break the budget.
