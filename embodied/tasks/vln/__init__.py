"""Language-guided navigation on graph worlds: R2R, REVERIE, SOON and houses of one's own."""
