"""How far a dream can be trusted, on one page: what is measured, by which rules it is judged, and how it is drawn."""
