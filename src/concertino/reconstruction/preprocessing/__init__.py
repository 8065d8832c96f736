"""From raw rows to what is projected back."""
