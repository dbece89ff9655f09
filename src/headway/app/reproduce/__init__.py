"""What publications claim, held against what is measured here."""
