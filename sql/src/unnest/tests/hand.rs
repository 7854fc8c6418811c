//! Queries made by hand.
