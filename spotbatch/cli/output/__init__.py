"""How commands show what they found: as text for people, as JSON for programs."""
