//! Postgres' scalar and aggregate functions for DataFusion, where its own differ or are missing. One family per file.
